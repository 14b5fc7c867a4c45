// Package widget is what pages are drawn with: lists that render only what is
// visible, text fields, choices, QR codes, graphs, and text that fits. Widgets
// know no Backend and do no I/O.
package widget
