package relay

import "golang.org/x/sys/windows"

// errInUse is what binding a taken port fails with.
const errInUse = windows.WSAEADDRINUSE
