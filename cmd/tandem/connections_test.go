//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/net/proxy"
)

// room is how many files a process may have open.
func room() uint64 {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return limit.Cur
}

// cmdConnections makes connections to a port of this machine, or a socket,
// behind which all that is said comes back, and speaks on all of them at once,
// when all of them have been heard: connections COUNT PORT|PATH [TARGET], to
// TARGET by the SOCKS5 proxy at PORT if one is given.
func cmdConnections(ts *testscript.TestScript, _ bool, args []string) {
	need(ts, args, 2, "connections COUNT PORT|PATH [TARGET]")
	count := mustStatus(ts, args[0])
	network, address := "tcp", net.JoinHostPort("127.0.0.1", args[1])
	if strings.Contains(args[1], "/") {
		network, address = "unix", args[1]
	}
	dial := (&net.Dialer{}).DialContext
	if len(args) > 2 {
		socks, err := proxy.SOCKS5("tcp", address, nil, &net.Dialer{})
		ts.Check(err)
		dial, address = socks.(proxy.ContextDialer).DialContext, args[2]
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*stuck)
	defer cancel()
	var opening, talking sync.WaitGroup
	failures := make([]error, count)
	opening.Add(count)
	dialling := make(chan struct{}, 64) // fewer than queue for an accept
	for i := range count {
		talking.Go(func() {
			failures[i] = func() error {
				greeted := false
				defer func() {
					if !greeted {
						opening.Done()
					}
				}()
				dialling <- struct{}{}
				conn, err := dial(ctx, network, address)
				for errors.Is(err, syscall.EAGAIN) && ctx.Err() == nil { // a socket's queue is full
					time.Sleep(time.Millisecond)
					conn, err = dial(ctx, network, address)
				}
				<-dialling
				if err != nil {
					return err
				}
				defer conn.Close()
				stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
				defer stop()
				hello := binary.BigEndian.AppendUint32(nil, uint32(i))
				if err := echoed(conn, hello); err != nil {
					return err
				}
				opening.Done()
				greeted = true
				opening.Wait() // every one of them is open
				text := make([]byte, 1000+i)
				_, _ = rand.NewChaCha8([32]byte{byte(i), byte(i >> 8)}).Read(text)
				if err := echoed(conn, text); err != nil {
					return err
				}
				if c, ok := conn.(interface{ CloseWrite() error }); ok {
					if err := c.CloseWrite(); err != nil {
						return err
					}
					if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
						return fmt.Errorf("%d bytes and %w behind the end", n, err)
					}
				}
				return nil
			}()
		})
	}
	talking.Wait()
	failed := 0
	for i, err := range failures {
		if err == nil {
			continue
		}
		if failed++; failed <= 5 {
			ts.Logf("connection %d: %v", i, err)
		}
	}
	if failed > 0 {
		ts.Fatalf("%d of %d connections failed", failed, count)
	}
}

// echoed says something and hears the same.
func echoed(conn net.Conn, text []byte) error {
	if _, err := conn.Write(text); err != nil {
		return err
	}
	back := make([]byte, len(text))
	if _, err := io.ReadFull(conn, back); err != nil {
		return err
	}
	if !bytes.Equal(back, text) {
		return errors.New("something else came back")
	}
	return nil
}

// port is the port of an address.
func port(address string) string {
	_, p, _ := net.SplitHostPort(address)
	return p
}

// cmdOpens opens and closes connections to a port of this machine as fast as it can, in
// so many threads, and logs how many a second: opens COUNT PORT.
func cmdOpens(ts *testscript.TestScript, _ bool, args []string) {
	need(ts, args, 2, "opens COUNT PORT")
	begun := time.Now()
	var work sync.WaitGroup
	const threads = 32
	failures := make(chan error, threads)
	for n := range threads {
		work.Go(func() {
			for i := n; i < mustStatus(ts, args[0]); i += threads {
				conn, err := net.Dial("tcp", "127.0.0.1:"+args[1])
				if err == nil {
					err = echoed(conn, []byte(strconv.Itoa(i)))
					_ = conn.Close()
				}
				if err != nil {
					failures <- err
					return
				}
			}
		})
	}
	work.Wait()
	close(failures)
	for err := range failures {
		ts.Fatalf("a connection: %v", err)
	}
	ts.Logf("%s connections in %v", args[0], time.Since(begun).Round(time.Millisecond))
}

// hold is a program that keeps connections to a port open until its input ends:
// hold COUNT PORT. That some are refused is its purpose.
func hold() {
	count, err := strconv.Atoi(os.Args[1])
	if err != nil {
		panic(err)
	}
	for range count {
		conn, err := net.Dial("tcp", "127.0.0.1:"+os.Args[2])
		if err == nil {
			_, _ = conn.Write([]byte("x"))
			defer conn.Close()
		}
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}
