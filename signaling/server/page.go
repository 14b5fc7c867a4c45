package server

import "net/http"

// page is what a browser shows for an invite link. The page never learns the
// link's secret: browsers keep the fragment, and there is no script to read it.
const page = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="referrer" content="no-referrer">
<title>tandem: you have been invited</title>
<h1>You have been invited to a tandem session</h1>
<p>Copy the whole address of this page, including the part after the #, and run:</p>
<pre>tandem join '&lt;the address&gt;'</pre>
<p>Give the address to nobody else: it works once, for whoever comes first.</p>
`

func servePage(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-cache")
	_, _ = w.Write([]byte(page))
}
