package trail

import (
	"errors"
	"fmt"

	"github.com/licet/licet/fsm"
)

// checker follows the chain over the lines of files.
type checker struct {
	// next is the number that comes next; chain is that before it, if known is set.
	next  uint64
	chain Hash
	known bool
}

// follows sees that a row with the expected number fits the chain, and goes on behind it.
func (c *checker) follows(w *fsm.Write) bool {
	fits := !c.known || fsm.NextChain(c.chain, w.Proto()) == w.Chain
	c.next, c.chain, c.known = w.Seq+1, w.Chain, true
	return fits
}

// skip goes on behind a gap.
func (c *checker) skip(g *Gap) {
	c.next, c.known = g.To+1, g.after != nil
	if c.known {
		c.chain = *g.after
	}
}

// strict takes the next line of one file, the first of which is a header, and returns what is wrong with it.
func (c *checker) strict(l *lines) error {
	if !l.whole {
		return errors.New("the line is unfinished")
	}
	x, err := decode(l.text)
	switch {
	case err != nil:
		return err
	case (x.header != nil) != (l.n == 1):
		return errors.New("a header stands elsewhere than in the first line, or there is none")
	case x.header != nil:
		if x.header.First != c.next {
			return fmt.Errorf("the header is that of the file that begins with row %d", x.header.First)
		}
		c.chain, c.known = Hash(x.header.Before), true
	case x.gap != nil:
		if x.gap.From != c.next {
			return fmt.Errorf("a gap from row %d on stands where row %d was due", x.gap.From, c.next)
		}
		c.skip(x.gap)
	case x.row.Seq != c.next:
		return fmt.Errorf("row %d stands where row %d was due", x.row.Seq, c.next)
	case !c.follows(x.row):
		return fmt.Errorf("row %d does not fit the chain", x.row.Seq)
	}
	return nil
}
