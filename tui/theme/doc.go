// Package theme is how the terminal UI looks and which keys it has: values that
// are made once and passed to every page. Nothing here asks the terminal; what
// it can show comes from the environment and the configuration.
package theme
