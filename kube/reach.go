package kube

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"drover.dev/fleet"
)

// Reach connects to a port of a pod. The pod is known to be at host; some ways need only its name. A connection outlives ctx.
type Reach func(ctx context.Context, pod fleet.PodRef, host string, port int) (net.Conn, error)

// Direct reaches pods by plain TCP. network says where they are reached under other addresses than the cluster knows: "10.0.0.0/8=127.0.0.0/8",
// several separated by commas, the first that fits; "" for nowhere.
func Direct(network string) (Reach, error) {
	routes, err := parseRoutes(network)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, pod fleet.PodRef, host string, port int) (net.Conn, error) {
		address := net.JoinHostPort(routed(routes, host), strconv.Itoa(port))
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, fmt.Errorf("reach port %d of pod %s: %w", port, pod, err)
		}
		return conn, nil
	}, nil
}

// Returned is Direct's way back: the address by which the cluster knows a pod, from the one under which it is seen where network has pods reached.
func Returned(network string) (func(address string) string, error) {
	routes, err := parseRoutes(network)
	if err != nil {
		return nil, err
	}
	for i, r := range routes {
		routes[i] = route{r.to, r.from}
	}
	return func(address string) string { return routed(routes, address) }, nil
}

// route has addresses of one prefix reached under another of the same length.
type route struct{ from, to netip.Prefix }

func parseRoutes(network string) ([]route, error) {
	if network == "" {
		return nil, nil
	}
	var out []route
	for i, item := range strings.Split(network, ",") {
		r, err := parseRoute(strings.TrimSpace(item))
		if err != nil {
			return nil, fmt.Errorf("pod network %q: item %d: %w", network, i+1, err)
		}
		out = append(out, r)
	}
	return out, nil
}

func parseRoute(item string) (route, error) {
	from, to, ok := strings.Cut(item, "=")
	if !ok {
		return route{}, fmt.Errorf("%q: want two prefixes with = between them, like 10.0.0.0/8=127.0.0.0/8", item)
	}
	var r route
	for _, side := range []struct {
		text string
		into *netip.Prefix
	}{{from, &r.from}, {to, &r.to}} {
		prefix, err := netip.ParsePrefix(side.text)
		if err != nil {
			return route{}, fmt.Errorf("%q is not a prefix: %w", side.text, err)
		}
		if prefix != prefix.Masked() {
			return route{}, fmt.Errorf("prefix %s has bits beyond its length: did you mean %s?", prefix, prefix.Masked())
		}
		*side.into = prefix
	}
	if r.from.Bits() != r.to.Bits() || r.from.Addr().BitLen() != r.to.Addr().BitLen() {
		return route{}, fmt.Errorf("prefixes %s and %s are not equally long", r.from, r.to)
	}
	return r, nil
}

// routed is the address to dial for host. Names are left to the resolver.
func routed(routes []route, host string) string {
	address, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	for _, r := range routes {
		if r.from.Contains(address) {
			return r.moved(address).String()
		}
	}
	return host
}

// moved takes the network's bits from r.to, and the rest from the address.
func (r route) moved(address netip.Addr) netip.Addr {
	host, network := address.AsSlice(), r.to.Addr().AsSlice()
	for i := range host {
		own := byte(0xff) >> min(8, max(0, r.to.Bits()-8*i))
		host[i] = network[i]&^own | host[i]&own
	}
	moved, _ := netip.AddrFromSlice(host) // of a length that it came in
	return moved
}
