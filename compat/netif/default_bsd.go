//go:build darwin || dragonfly || freebsd || netbsd

package netif

import (
	"errors"
	"slices"

	"golang.org/x/net/route"
	"golang.org/x/sys/unix"
)

// defaultRoutes gives the interfaces of the default routes, by the sysctl(3) that
// route(4) describes. A family that the kernel lacks has no routes.
func defaultRoutes() ([]string, error) {
	var indexes []int
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		rib, err := route.FetchRIB(family, route.RIBTypeRoute, 0)
		if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EINVAL) {
			continue
		}
		if err != nil {
			return nil, err
		}
		messages, err := route.ParseRIB(route.RIBTypeRoute, rib)
		if err != nil {
			return nil, err
		}
		for _, m := range messages {
			if r, ok := m.(*route.RouteMessage); ok && isDefault(r) && !slices.Contains(indexes, r.Index) {
				indexes = append(indexes, r.Index)
			}
		}
	}
	return names(indexes), nil
}
