package balancer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// serveTCP forwards connections one to one, for groups of protocol TCP.
func (f *front) serveTCP() {
	for {
		conn, err := f.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of files, most likely; the listener stays good
			f.b.Log.Warn("accept", "address", f.listener.Addr().String(), "error", err)
			time.Sleep(10 * time.Millisecond)
			continue
		}
		f.work.Go(func() { f.carry(conn.(*net.TCPConn)) })
	}
}

// carry takes a connection to a target and back until both ends are done with it. A connection that no target takes, or whose target's
// time is over, is reset.
func (f *front) carry(client *net.TCPConn) {
	defer client.Close()
	ctx, cut := context.WithCancelCause(f.ctx)
	defer cut(nil)
	fl, err := f.begin(cut)
	if err != nil {
		reset(client)
		return
	}
	defer f.land(fl)
	conn, err := f.connect(ctx, fl.to, 0)
	if err != nil {
		reset(client)
		return
	}
	defer conn.Close()
	target, ok := conn.(*net.TCPConn)
	if !ok {
		f.b.Log.Error("Options.Dial did not return a TCP connection, which a TCP group needs", "type", fmt.Sprintf("%T", conn))
		reset(client)
		return
	}
	stop := context.AfterFunc(ctx, func() { reset(client); reset(target) })
	defer stop()

	oneWay := func(to, from *net.TCPConn) {
		_, err := io.Copy(to, from)
		if err == nil {
			err = to.CloseWrite() // an end of one direction is only that
		}
		if err != nil {
			reset(client)
			reset(target)
		}
	}
	var back sync.WaitGroup
	back.Go(func() { oneWay(client, target) })
	oneWay(target, client)
	back.Wait()
}

// reset closes a connection such that its peer reads "connection reset" rather than an end.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	c.Close()
}
