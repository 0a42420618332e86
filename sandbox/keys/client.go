package keys

import (
	"context"
	"crypto/tls"
	"net"
	"strconv"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
)

// client is one library, connected to one store.
type client interface {
	add(ctx context.Context, key string, n int64) error
	has(ctx context.Context, key string, n int64) (bool, error)
	close()
}

// libraries are those that every store is used through.
var libraries = []struct {
	name    string
	connect func(ctx context.Context, s Store, dial Dial) (client, error)
}{
	{"go-redis", connectGoRedis},
	{"rueidis", connectRueidis},
}

type goRedis struct{ redis.UniversalClient }

func connectGoRedis(ctx context.Context, s Store, dial Dial) (client, error) {
	through := func(ctx context.Context, _, address string) (net.Conn, error) { return dial(ctx, address) }
	var c redis.UniversalClient
	if s.Master != "" {
		c = redis.NewFailoverClient(&redis.FailoverOptions{MasterName: s.Master, SentinelAddrs: []string{s.Seed}, Dialer: through})
	} else {
		c = redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{s.Seed}, Dialer: through})
	}
	if err := c.Ping(ctx).Err(); err != nil {
		c.Close()
		return nil, err
	}
	return goRedis{c}, nil
}

func (c goRedis) add(ctx context.Context, key string, n int64) error {
	return c.SAdd(ctx, key, n).Err()
}
func (c goRedis) has(ctx context.Context, key string, n int64) (bool, error) {
	return c.SIsMember(ctx, key, n).Result()
}
func (c goRedis) close() { c.Close() }

type rueidisClient struct{ rueidis.Client }

func connectRueidis(_ context.Context, s Store, dial Dial) (client, error) {
	c, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{s.Seed}, Sentinel: rueidis.SentinelOption{MasterSet: s.Master},
		DialCtxFn: func(ctx context.Context, address string, _ *net.Dialer, _ *tls.Config) (net.Conn, error) {
			return dial(ctx, address)
		},
	})
	if err != nil {
		return nil, err
	}
	return rueidisClient{c}, nil
}

func (c rueidisClient) add(ctx context.Context, key string, n int64) error {
	return c.Do(ctx, c.B().Sadd().Key(key).Member(strconv.FormatInt(n, 10)).Build()).Error()
}

func (c rueidisClient) has(ctx context.Context, key string, n int64) (bool, error) {
	return c.Do(ctx, c.B().Sismember().Key(key).Member(strconv.FormatInt(n, 10)).Build()).AsBool()
}

func (c rueidisClient) close() { c.Close() }
