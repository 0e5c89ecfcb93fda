package metrics

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// Kinds of families.
const (
	counter   = "counter"
	gauge     = "gauge"
	histogram = "histogram"
)

// Family is all there is to know about one name. docs/metrics.md has a row for each.
type Family struct {
	Name, Type string
	Labels     []string
	Unit, Help string
}

// Families returns all that a node exports of its own, in the order of docs/metrics.md. The slice is the caller's.
func Families() []Family {
	return slices.Concat(nodeFamilies, seatFamilies, requestFamilies, raftFamilies)
}

func family(list []Family, name string) Family {
	i := slices.IndexFunc(list, func(f Family) bool { return f.Name == name })
	if i < 0 {
		panic("metrics: " + name + " is in no table")
	}
	return list[i]
}

func (f Family) desc() *prometheus.Desc {
	return prometheus.NewDesc(f.Name, f.Help, f.Labels, nil)
}

// gauges and counters of a list, read at each scrape.
func descs(list []Family) map[string]*prometheus.Desc {
	all := make(map[string]*prometheus.Desc, len(list))
	for _, f := range list {
		all[f.Name] = f.desc()
	}
	return all
}

// Buckets. Seconds from a tenth of a millisecond, which an idle node takes, to the longest that a request may take.
var (
	seconds = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	// slow is for what writes or moves a whole state.
	slow = []float64{.001, .01, .1, .5, 1, 5, 10, 30, 60, 300, 1800}
	// waits are people's: from a moment to a day.
	waits     = []float64{1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600}
	sizes     = []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096}
	byteSizes = []float64{256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20}
)

// maker makes the instruments of a list and registers them. A name that is not in the list is a fault of this package.
type maker struct {
	list     []Family
	registry *prometheus.Registry
}

func (m maker) family(name, kind string) Family {
	f := family(m.list, name)
	if f.Type != kind {
		panic("metrics: " + name + " is no " + kind)
	}
	return f
}

func (m maker) histograms(name string, buckets []float64) *prometheus.HistogramVec {
	f := m.family(name, histogram)
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: f.Name, Help: f.Help, Buckets: buckets}, f.Labels)
	m.registry.MustRegister(v)
	return v
}

func (m maker) histogram(name string, buckets []float64) prometheus.Observer {
	return m.histograms(name, buckets).WithLabelValues()
}

func (m maker) counters(name string) *prometheus.CounterVec {
	f := m.family(name, counter)
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: f.Name, Help: f.Help}, f.Labels)
	m.registry.MustRegister(v)
	return v
}

func (m maker) counter(name string) prometheus.Counter { return m.counters(name).WithLabelValues() }

func (m maker) gauges(name string) *prometheus.GaugeVec {
	f := m.family(name, gauge)
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: f.Name, Help: f.Help}, f.Labels)
	m.registry.MustRegister(v)
	return v
}

func (m maker) gauge(name string) prometheus.Gauge { return m.gauges(name).WithLabelValues() }
