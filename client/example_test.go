package client_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
)

// What the examples are about: a cluster with one seat, and an application.
var (
	ctx       = context.Background()
	token     = "secret"
	endpoints = []string{cluster()}
	ask       = apiv1.Checkout{Pool: "design", Product: "cad", User: "ann@acme.example", Client: "ws-17", Queue: true}
)

func cluster() string {
	return httptest.NewServer(http.HandlerFunc(newOffice(time.Minute).serve)).URL
}

func draw(ctx context.Context) { fmt.Println("drawing until", ctx.Err()) }

// An application that takes a seat, or waits for one, and works until it is done or the seat is lost.
func ExampleClient_Hold() {
	c, err := client.New(client.Options{Endpoints: endpoints, Token: token})
	if err != nil {
		log.Fatal(err)
	}
	seat, err := c.Hold(ctx, ask)
	if err != nil {
		log.Fatal(err)
	}
	defer seat.Close()
	draw(seat.Context())
	// Output: drawing until <nil>
}

// Who waits shows where it stands, and who loses the seat says so.
func ExampleSeat_Lost() {
	c, err := client.New(client.Options{Endpoints: endpoints, Token: token})
	if err != nil {
		log.Fatal(err)
	}
	seat, err := c.Hold(ctx, ask, func(t apiv1.Ticket) {
		fmt.Printf("%d ahead of you, about %d s\n", t.Ahead, t.EstimatedWait)
	})
	if err != nil {
		log.Fatal(err)
	}
	defer time.AfterFunc(time.Second, func() { _ = seat.Close() }).Stop()
	<-seat.Lost()
	fmt.Println(seat.Err())
	// Output: the seat was returned
}

// A seat for three days without the cluster. Its token verifies offline; with it the borrow is returned early.
func ExampleClient_ReturnBorrow() {
	c, err := client.New(client.Options{Endpoints: endpoints, Token: token})
	if err != nil {
		log.Fatal(err)
	}
	borrow := ask
	borrow.Queue, borrow.BorrowDays = false, 3
	done, err := c.Checkout(ctx, borrow)
	if err != nil {
		log.Fatal(err)
	}
	back, err := c.ReturnBorrow(ctx, done.Value.Lease.Token)
	fmt.Println(back.Value.Already, err)
	// Output: false <nil>
}

// Who has seats of a pool, however many there are.
func ExampleClient_AllLeases() {
	c, err := client.New(client.Options{Endpoints: []string{"http://bordeaux:7001", "http://lyon:7001"}, Token: "secret"})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	for lease, err := range c.AllLeases(context.Background(), client.LeasePage{Pool: "design"}) {
		if err != nil {
			log.Print(err)
			break
		}
		fmt.Println(lease.User, lease.Count, lease.Product)
	}
}
