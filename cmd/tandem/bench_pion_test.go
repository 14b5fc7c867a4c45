//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"

	"github.com/pion/webrtc/v4"
)

// Raw pion is what DESIGN, section 3 begins from: one file over one ordered data
// channel of one PeerConnection, all as pion/webrtc has it by default. The two meet
// over TCP: the fetching side sends its offer, gets the answer, each a JSON object.
const (
	rawChunk = 16 << 10
	rawAhead = 1 << 20 // what is buffered at most
)

// pionServe is a program that sends a file to all who ask: pionserve ADDRESS FILE.
func pionServe() {
	listener, err := net.Listen("tcp", os.Args[1])
	exitOn(err)
	for {
		conn, err := listener.Accept()
		exitOn(err)
		go func() {
			if err := pionSend(conn, os.Args[2]); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}()
	}
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// describe sends our description when all candidates are known.
func describe(conn net.Conn, pc *webrtc.PeerConnection, d webrtc.SessionDescription) error {
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(d); err != nil {
		return err
	}
	<-gathered
	return json.NewEncoder(conn).Encode(pc.LocalDescription())
}

func pionSend(conn net.Conn, file string) error {
	defer conn.Close()
	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return err
	}
	defer func() { _ = pc.Close() }()
	sent := make(chan error, 1)
	pc.OnDataChannel(func(dc *webrtc.DataChannel) {
		low := make(chan struct{}, 1)
		dc.SetBufferedAmountLowThreshold(rawAhead / 2)
		dc.OnBufferedAmountLow(func() {
			select {
			case low <- struct{}{}:
			default:
			}
		})
		dc.OnOpen(func() { go func() { sent <- pionCopy(dc, file, low) }() })
	})
	var offer webrtc.SessionDescription
	if err := json.NewDecoder(conn).Decode(&offer); err != nil {
		return err
	}
	if err := pc.SetRemoteDescription(offer); err != nil {
		return err
	}
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		return err
	}
	if err := describe(conn, pc, answer); err != nil {
		return err
	}
	gone := make(chan struct{}) // the fetching side has all it wants
	go func() {
		defer close(gone)
		_, _ = io.Copy(io.Discard, conn)
	}()
	select {
	case err := <-sent:
		<-gone
		return err
	case <-gone:
		return nil
	}
}

// pionCopy sends the size of a file in decimal, and then the file.
func pionCopy(dc *webrtc.DataChannel, file string, low <-chan struct{}) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := dc.SendText(strconv.FormatInt(info.Size(), 10)); err != nil {
		return err
	}
	for buf := make([]byte, rawChunk); ; {
		n, err := f.Read(buf)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := dc.Send(buf[:n]); err != nil {
			return err
		}
		for dc.BufferedAmount() > rawAhead {
			<-low
		}
	}
}

// pionFetch is a program that fetches the file: pionfetch ADDRESS DEST.
func pionFetch() {
	conn, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", os.Args[1])
	exitOn(err)
	f, err := os.Create(os.Args[2])
	exitOn(err)
	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	exitOn(err)
	dc, err := pc.CreateDataChannel("file", nil)
	exitOn(err)
	done := make(chan struct{})
	left := int64(-1)
	dc.OnMessage(func(m webrtc.DataChannelMessage) {
		if m.IsString {
			left, err = strconv.ParseInt(string(m.Data), 10, 64)
			exitOn(err)
		} else {
			_, err := f.Write(m.Data)
			exitOn(err)
			left -= int64(len(m.Data))
		}
		if left == 0 {
			close(done)
		}
	})
	offer, err := pc.CreateOffer(nil)
	exitOn(err)
	exitOn(describe(conn, pc, offer))
	var answer webrtc.SessionDescription
	exitOn(json.NewDecoder(conn).Decode(&answer))
	exitOn(pc.SetRemoteDescription(answer))
	<-done
	exitOn(f.Close())
	exitOn(conn.Close()) // until now: its end tells the serving side that we are done
}
