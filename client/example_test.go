package client_test

import (
	"context"
	"fmt"
	"log"

	"github.com/licet/licet/client"
)

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
