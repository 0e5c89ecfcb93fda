package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// etcd is three nodes of etcd, each a process of its own with the defaults of the library.
type etcd struct {
	nodes   []*process
	clients []*clientv3.Client
	// leader and follower are addresses of clients.
	leader, follower string
	endpoints        []string
}

// etcdConnections are how many connections callers share: with one, its client's own lock is what is measured.
const etcdConnections = 8

const etcdPort = 23790

// serveEtcd is one node, in a process of its own.
func serveEtcd(dir string, number int) error {
	c := embed.NewConfig()
	c.Name, c.Dir, c.LogLevel = etcdNode(number), filepath.Join(dir, etcdNode(number)), "error"
	c.ListenClientUrls = []url.URL{etcdURL(number)}
	c.AdvertiseClientUrls = c.ListenClientUrls
	c.ListenPeerUrls = []url.URL{etcdURL(10 + number)}
	c.AdvertisePeerUrls = c.ListenPeerUrls
	c.QuotaBackendBytes = 8 << 30
	var members []string
	for i := range nodes {
		u := etcdURL(10 + i)
		members = append(members, etcdNode(i)+"="+u.String())
	}
	c.InitialCluster = strings.Join(members, ",")
	node, err := embed.StartEtcd(c)
	if err != nil {
		return err
	}
	defer node.Close()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt)
	select {
	case <-stop:
		return nil
	case err := <-node.Err():
		return err
	}
}

func etcdNode(number int) string { return "etcd" + strconv.Itoa(number) }

func etcdURL(offset int) url.URL {
	return url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", etcdPort+offset)}
}

func startEtcd(ctx context.Context, dir string) (system, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	e := &etcd{}
	for i := range nodes {
		p, err := startProcess(dir, etcdNode(i), self, "-serve-etcd", strconv.Itoa(i), "-dir", dir)
		if err != nil {
			return nil, errors.Join(err, e.stop())
		}
		e.nodes = append(e.nodes, p)
		u := etcdURL(i)
		e.endpoints = append(e.endpoints, u.String())
	}
	if err := e.connect(ctx); err != nil {
		return nil, errors.Join(err, e.stop())
	}
	return e, nil
}

// connect waits until all nodes serve, and finds out who leads.
func (e *etcd) connect(ctx context.Context) error {
	c, err := e.client(e.endpoints...)
	if err != nil {
		return err
	}
	e.clients = append(e.clients, c)
	for i, endpoint := range e.endpoints {
		err := e.nodes[i].await(ctx, "etcd's start", func() error {
			s, err := c.Status(ctx, endpoint)
			switch {
			case err != nil:
				return err
			case s.Leader == 0:
				return errors.New("there is no leader")
			case s.Leader == s.Header.MemberId:
				e.leader = endpoint
			default:
				e.follower = endpoint
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *etcd) client(endpoints ...string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop()})
}

func (e *etcd) pids() []int { return pidsOf(e.nodes) }

func (e *etcd) stop() error {
	var errs []error
	for _, c := range e.clients {
		errs = append(errs, c.Close())
	}
	for _, n := range e.nodes {
		errs = append(errs, n.stop())
	}
	return errors.Join(errs...)
}

// operation is what etcd does for a load.
func (e *etcd) operation(of loadName, _ int) (operation, error) {
	at := e.leader
	if of.at == follower {
		at = e.follower
	}
	clients := make([]*clientv3.Client, etcdConnections)
	for i := range clients {
		c, err := e.client(at)
		if err != nil {
			return nil, err
		}
		clients[i] = c
		e.clients = append(e.clients, c)
	}
	prefix := of.String() + "/"
	switch of.what {
	case checkout:
		return func(ctx context.Context, caller, n int) error {
			return create(ctx, clients[caller%len(clients)], prefix+strconv.Itoa(n))
		}, nil
	case read:
		if err := create(context.Background(), clients[0], "read"); err != nil {
			return nil, err
		}
		return func(ctx context.Context, caller, _ int) error {
			r, err := clients[caller%len(clients)].Get(ctx, "read")
			if err == nil && len(r.Kvs) != 1 {
				err = fmt.Errorf("%d keys instead of one", len(r.Kvs))
			}
			return err
		}, nil
	}
	return nil, errNotComparable
}

// create puts a key that must not be there.
func create(ctx context.Context, c *clientv3.Client, key string) error {
	r, err := c.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).Then(clientv3.OpPut(key, leaseSizedValue)).Commit()
	if err == nil && !r.Succeeded && key != "read" {
		err = fmt.Errorf("key %s is there already", key)
	}
	return err
}

// leaseSizedValue is as long as what licet is told of a checkout.
const leaseSizedValue = `{"pool":"bench","product":"cad","user":"user-000000","client":"workstation-17"}`

// count is how many keys of a load are there.
func (e *etcd) count(ctx context.Context, of loadName) (int, error) {
	r, err := e.clients[0].Get(ctx, of.String()+"/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return 0, err
	}
	return int(r.Count), nil
}
