package kube

import (
	"context"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"

	"drover.dev/fleet"
)

func TestRoutesMoveAddresses(t *testing.T) {
	for _, c := range []struct{ network, host, want string }{
		{"", "10.1.2.3", "10.1.2.3"},
		{"10.0.0.0/8=127.0.0.0/8", "10.20.3.5", "127.20.3.5"},
		{"10.0.0.0/8=127.0.0.0/8", "11.20.3.5", "11.20.3.5"},
		{"10.0.0.0/8=127.0.0.0/8", "orders-0.orders", "orders-0.orders"},
		{"10.1.0.0/16=172.16.0.0/16, 10.0.0.0/8=127.0.0.0/8", "10.1.2.3", "172.16.2.3"},
		{"10.1.0.0/16=172.16.0.0/16,10.0.0.0/8=127.0.0.0/8", "10.2.2.3", "127.2.2.3"},
		{"10.16.0.0/12=192.160.0.0/12", "10.31.255.254", "192.175.255.254"},
		{"0.0.0.0/0=0.0.0.0/0", "10.1.2.3", "10.1.2.3"},
		{"10.1.2.3/32=127.0.0.1/32", "10.1.2.3", "127.0.0.1"},
		{"fd00::/16=fd77::/16", "fd00:1::5", "fd77:1::5"},
	} {
		routes, err := parseRoutes(c.network)
		if err != nil {
			t.Errorf("%q: %v", c.network, err)
			continue
		}
		if got := routed(routes, c.host); got != c.want {
			t.Errorf("%q: %s is reached at %s, want %s", c.network, c.host, got, c.want)
		}
	}
}

func TestRoutesAreRefusedWhereTheyAreWrong(t *testing.T) {
	for network, want := range map[string]string{
		"10.0.0.0/8":              `item 1: "10.0.0.0/8": want two prefixes with = between them`,
		"10.0.0.0/8=127.0.0.0/8,": `item 2: "": want two prefixes`,
		"10.0.0.0/8=127.0.0.0/8,10.1.0.0/16=127.1.0.0": `item 2: "127.1.0.0" is not a prefix`,
		"10.0.0.1/8=127.0.0.0/8":                       "item 1: prefix 10.0.0.1/8 has bits beyond its length: did you mean 10.0.0.0/8?",
		"10.0.0.0/8=127.0.0.0/16":                      "item 1: prefixes 10.0.0.0/8 and 127.0.0.0/16 are not equally long",
		"fd00::/16=10.1.0.0/16":                        "are not equally long",
	} {
		if _, err := Direct(network); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", network, err, want)
		}
	}
}

func TestDirectDialsTheRoutedAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if conn, err := l.Accept(); err == nil {
			_, _ = io.WriteString(conn, "hello")
			conn.Close()
		}
	}()
	reach, err := Direct("10.0.0.0/8=127.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := net.SplitHostPort(l.Addr().String())
	port, _ := strconv.Atoi(text)
	pod := fleet.PodRef{Namespace: "shop", Name: "orders-0"}
	conn, err := reach(t.Context(), pod, "10.0.0.1", port)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if said, err := io.ReadAll(conn); string(said) != "hello" {
		t.Errorf("%q, %v", said, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if conn, err := reach(ended, pod, "10.0.0.1", port); err == nil || !strings.Contains(err.Error(), "of pod shop/orders-0") {
		t.Errorf("after the end of its context: %v, %v", conn, err)
	}
}

func TestReturnedIsTheWayBack(t *testing.T) {
	back, err := Returned("10.0.0.0/8=127.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	for seen, want := range map[string]string{"127.21.4.2": "10.21.4.2", "192.168.1.1": "192.168.1.1", "hidden": "hidden", "": ""} {
		if got := back(seen); got != want {
			t.Errorf("%q is %q, want %q", seen, got, want)
		}
	}
	if _, err := Returned("10.0.0.0/8"); err == nil {
		t.Error("half a route is taken")
	}
}
