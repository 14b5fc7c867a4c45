package tui

import "tandem/tui/page"

// entries are the pages that people open by a key, in the order of the help.
func entries() []page.Entry {
	return []page.Entry{}
}
