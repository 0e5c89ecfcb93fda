package client

import (
	"context"
	"net/url"
	"strconv"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm/signed"
)

// ContractPage says which contracts to list, by id.
type ContractPage struct {
	// After is the id after which the page begins; empty means at the first.
	After string
	// Limit is the most that are listed, 1 to 1000; 0 leaves it to the node.
	Limit int
}

func limit(n int) ReadOption {
	return func(q url.Values) {
		if n != 0 {
			q.Set("limit", strconv.Itoa(n))
		}
	}
}

// PutContract imports a signed contract or its next revision (rules C2, C3).
func (c *Client) PutContract(ctx context.Context, document string) (*Answer[apiv1.Contract], error) {
	r, err := write(ctx, "POST", "/v1/contracts", apiv1.ContractImport{Document: document})
	return call[apiv1.Contract](ctx, c, r, err)
}

// Contract returns a contract with its document.
func (c *Client) Contract(ctx context.Context, id string, options ...ReadOption) (*Answer[apiv1.Contract], error) {
	if err := signed.CheckName("contract", id); err != nil {
		return nil, refused(err)
	}
	return call[apiv1.Contract](ctx, c, get("/v1/contracts/"+url.PathEscape(id), options), nil)
}

// Contracts lists one page of contracts, without their documents.
func (c *Client) Contracts(ctx context.Context, page ContractPage, options ...ReadOption) (*Answer[apiv1.ContractList], error) {
	r := get("/v1/contracts", append([]ReadOption{limit(page.Limit)}, options...))
	if page.After != "" {
		r.query.Set("after", page.After)
	}
	return call[apiv1.ContractList](ctx, c, r, nil)
}
