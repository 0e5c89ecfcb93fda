package fsm

import (
	"fmt"
	"time"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// Instance is one installation that draws on a contract, immutable (rules I1–I6).
type Instance struct {
	Serial     uint64
	Contract   string
	Name       string
	Allocation Quantities
	// KeyBase plus the contract's Terms is the revision of the license key.
	KeyBase int64
	// CreatedMs and ActivatedMs are wall clock milliseconds; ActivatedMs is 0 until the first activation.
	CreatedMs, ActivatedMs int64
	// ActivatedRevision is the revision of the key presented last.
	ActivatedRevision uint64
	// Reports is true if the instance keeps its own accounts; Active is what it reported last (rule I5).
	Reports bool
	Active  Quantities
	// Site is whose site-operators may change the instance; empty: none.
	Site string
	hashed
}

func (i *Instance) message(e *encoder) (recordKind, message) {
	return 3, i.record(&e.instance, e.lend(i.Allocation), e.lend(i.Active))
}

func (i *Instance) record(into *fsmpb.InstanceRecord, allocation, active []*fsmpb.Quantity) *fsmpb.InstanceRecord {
	*into = fsmpb.InstanceRecord{
		Serial: i.Serial, Contract: i.Contract, Name: i.Name, Allocation: allocation, KeyBase: i.KeyBase,
		CreatedMs: i.CreatedMs, ActivatedMs: i.ActivatedMs, ActivatedRevision: i.ActivatedRevision,
		Reports: i.Reports, Active: active, Site: i.Site,
	}
	return into
}

func instanceFromProto(r *fsmpb.InstanceRecord) *Instance {
	return &Instance{
		Serial: r.GetSerial(), Contract: r.GetContract(), Name: r.GetName(), Allocation: QuantitiesFromProto(r.GetAllocation()), KeyBase: r.GetKeyBase(),
		CreatedMs: r.GetCreatedMs(), ActivatedMs: r.GetActivatedMs(), ActivatedRevision: r.GetActivatedRevision(),
		Reports: r.GetReports(), Active: QuantitiesFromProto(r.GetActive()), Site: r.GetSite(),
	}
}

type contractInstance struct {
	contract string
	serial   uint64
}

func (a contractInstance) less(b contractInstance) bool {
	if a.contract != b.contract {
		return a.contract < b.contract
	}
	return a.serial < b.serial
}

// nameKey can't be ambiguous: names hold no NUL. Text is compared in half the time that a structure takes.
func nameKey(contract, name string) string { return contract + "\x00" + name }

// createInstance allocates users of a contract to a new instance (rules I1, I4).
func (s *State) createInstance(o *fsmpb.Outcome, cmd *fsmpb.CreateInstance) {
	allocation, err := checkAreas("allocation", cmd.Allocation)
	if err == nil {
		err = signed.CheckName("name", cmd.Name)
	}
	if err == nil {
		// Refusals are recorded with the name that was asked for.
		err = signed.CheckName("contract", cmd.Contract)
	}
	if err == nil {
		err = checkSite(cmd.Site)
	}
	if err == nil && len(allocation) == 0 {
		err = fmt.Errorf("allocation: it is missing")
	}
	if err != nil {
		o.Refusal = invalid(err)
		return
	}
	c, refusal := s.openContract(cmd.Contract)
	if refusal == nil {
		refusal = s.nameTaken(cmd.Contract, cmd.Name)
	}
	if refusal == nil {
		refusal = s.exhausted(c, nil, allocation)
	}
	if refusal != nil {
		o.Refusal = refusal
		return
	}
	s.counters.lastSerial++
	i := &Instance{
		Serial: s.counters.lastSerial, Contract: c.Doc.ID, Name: cmd.Name, Allocation: allocation,
		KeyBase: 1 - int64(c.Terms), CreatedMs: s.clock.WallMs, Site: cmd.Site, //nolint:gosec // G115: a number of rows, entries or terms, which never comes near 2^63
	}
	s.instances.set(&s.digest, i.Serial, i)
	s.indexInstance(i)
	o.Result = s.instanceResult(i)
}

func (s *State) nameTaken(contract, name string) *fsmpb.Refusal {
	if other, ok := s.byName.Get(nameKey(contract, name)); ok {
		return refuse(InstanceExists, "contract", contract, "name", name, "serial", other)
	}
	return nil
}

// exhausted checks that a contract can bear an allocation that replaces
// another (rule I1). What shrinks always passes (rule I2), also while the contract is
// over-allocated (rule C4).
func (s *State) exhausted(c *Contract, from, to Quantities) *fsmpb.Refusal {
	allocated, _ := s.allocated.Get(c.Doc.ID)
	for _, x := range to {
		had := from.Get(x.Name)
		if x.N <= had {
			continue
		}
		others, most := allocated.Get(x.Name)-had, c.Users.Get(x.Name)
		if x.N+others > most {
			return refuse(ContractExhausted, "contract", c.Doc.ID, "of", "area", "line", x.Name, "area", x.Name, "asked", x.N,
				"free", most-min(others, most), "allocated", allocated.Get(x.Name), "max", most)
		}
	}
	return nil
}

func (t *tables) indexInstance(i *Instance) {
	allocated, _ := t.allocated.Get(i.Contract)
	t.setAllocated(i.Contract, allocated.plus(i.Allocation))
	t.byContract.keys.Set(contractInstance{i.Contract, i.Serial})
	t.byName.Set(nameKey(i.Contract, i.Name), i.Serial)
	t.addCounts(i, counts{active: i.Active})
}

func (t *tables) unindexInstance(i *Instance) {
	allocated, _ := t.allocated.Get(i.Contract)
	t.setAllocated(i.Contract, allocated.minus(i.Allocation))
	t.byContract.keys.Delete(contractInstance{i.Contract, i.Serial})
	t.byName.Delete(nameKey(i.Contract, i.Name))
}

// setAllocated keeps no row for nothing, whichever way it came to that.
func (t *tables) setAllocated(contract string, q Quantities) {
	if len(q) == 0 {
		t.allocated.Delete(contract)
		return
	}
	t.allocated.Set(contract, q)
}

// resizeInstance changes the allocation of the areas named (rules I1, I2, I4).
func (s *State) resizeInstance(o *fsmpb.Outcome, cmd *fsmpb.ResizeInstance) {
	changes, err := checkAreas("allocation", cmd.Allocation)
	if err == nil && len(changes) == 0 && cmd.Site == nil {
		err = fmt.Errorf("allocation: it is missing")
	}
	if err == nil {
		err = checkSite(cmd.GetSite())
	}
	if err != nil {
		o.Refusal = invalid(err)
		return
	}
	i, refusal := s.instance(cmd.Serial)
	if refusal != nil {
		o.Refusal = refusal
		return
	}
	next := edit(i)
	next.Allocation = i.Allocation.with(changes)
	if cmd.Site != nil {
		next.Site = cmd.GetSite()
	}
	if n := len(next.Allocation); n > signed.MaxAreas {
		// Its license key could not be signed.
		o.Refusal = invalid(fmt.Errorf("allocation: %d areas are more than %d", n, signed.MaxAreas))
		return
	}
	c, _ := s.contracts.get(i.Contract)
	if refusal := s.enlargement(c, i.Allocation, next.Allocation); refusal != nil {
		o.Refusal = refusal
		return
	}
	if sameQuantities(i.Allocation, next.Allocation) {
		if next.Site != i.Site {
			s.instances.set(&s.digest, next.Serial, next)
		}
	} else {
		next.KeyBase++
		s.instances.set(&s.digest, next.Serial, next)
		allocated, _ := s.allocated.Get(i.Contract)
		s.setAllocated(i.Contract, allocated.minus(i.Allocation).plus(next.Allocation))
		s.freedByResize(next, i.Allocation)
	}
	o.Result = s.instanceResult(next)
}

// enlargement refuses what grows beyond the contract or after its end; what only
// shrinks always succeeds (rule I2).
func (s *State) enlargement(c *Contract, from, to Quantities) *fsmpb.Refusal {
	if len(to.above(from)) == 0 {
		return nil
	}
	if _, refusal := s.openContract(c.Doc.ID); refusal != nil {
		return refusal
	}
	return s.exhausted(c, from, to)
}

func sameQuantities(a, b Quantities) bool {
	return len(a.above(b)) == 0 && len(b.above(a)) == 0
}

// removeInstance stops an instance for good (rule I3).
func (s *State) removeInstance(o *fsmpb.Outcome, cmd *fsmpb.RemoveInstance) {
	i, refusal := s.instance(cmd.Serial)
	if refusal != nil {
		o.Refusal = refusal
		return
	}
	o.Result = s.instanceResult(i)
	s.instances.delete(&s.digest, i.Serial)
	s.unindexInstance(i)
	s.orphan(i)
}

// instance finds an instance. A serial number that was given out and is not
// there any more was removed: numbers are never used again (rule I3).
func (t *tables) instance(serial uint64) (*Instance, *fsmpb.Refusal) {
	if i, ok := t.instances.get(serial); ok {
		return i, nil
	}
	if serial != 0 && serial <= t.counters.lastSerial {
		return nil, refuse(InstanceRemoved, "serial", serial)
	}
	return nil, refuse(InstanceNotFound, "serial", serial)
}

// activateInstance checks a license key and takes the instance's report (rules I4, I5, I6).
func (s *State) activateInstance(o *fsmpb.Outcome, cmd *fsmpb.ActivateInstance) {
	active, err := checkAreas("active", cmd.Active)
	if err == nil && !cmd.Reports && len(active) > 0 {
		err = fmt.Errorf("active: the instance does not report")
	}
	if err != nil {
		o.Refusal = invalid(err)
		return
	}
	key, err := signed.VerifyLicenseKey(cmd.Key, s.meta.SigningKeys)
	if err != nil {
		o.Refusal = refuse(KeyInvalid, "reason", documentFault(err))
		o.Refusal.Hint = err.Error()
		return
	}
	i, refusal := s.instance(key.Serial)
	if refusal == nil {
		refusal = s.admitted(i, key, active)
	}
	if refusal == nil && cmd.Reports {
		refusal = s.keepsAccounts(i)
	}
	if refusal != nil {
		o.Refusal = refusal
		return
	}
	next := edit(i)
	next.ActivatedMs, next.ActivatedRevision = s.clock.WallMs, key.Revision
	if cmd.Reports {
		next.Reports, next.Active = true, i.Active.with(active)
		s.reported(next, i.Active)
	}
	s.instances.set(&s.digest, next.Serial, next)
	o.Result = s.instanceResult(next)
}

// admitted says whether a key and a report are in order now.
func (s *State) admitted(i *Instance, key *signed.LicenseKey, active Quantities) *fsmpb.Refusal {
	c, refusal := s.startedContract(i.Contract)
	if refusal != nil {
		return refusal
	}
	if current := i.keyRevision(c); key.Revision != current {
		return refuse(KeyStale, "serial", i.Serial, "revision", key.Revision, "current", current)
	}
	if !i.Reports {
		// The first report of what was there before is taken as it is.
		return nil
	}
	for _, x := range active.above(i.Allocation) {
		if now, before := active.Get(x.Name), i.Active.Get(x.Name); now > before {
			// The one thing that a refusal leaves behind (rule A6).
			s.stopped(i, x.Name, AreaFull)
			return refuse(AreaFull, "serial", i.Serial, "area", x.Name, "active", now, "before", before,
				"allocation", i.Allocation.Get(x.Name), "excess", x.N)
		}
	}
	return nil
}

// keyRevision grows with every change of allocation (KeyBase) and of expiry or grace (Terms).
func (i *Instance) keyRevision(c *Contract) uint64 { return uint64(i.KeyBase + int64(c.Terms)) } //nolint:gosec // G115: a number of rows, entries or terms, which never comes near 2^63

// InstanceStatus is an instance with what follows from its contract.
type InstanceStatus struct {
	*Instance
	// Active and Blocked are its accounts by area: those kept here, or what it reported last (rule I5).
	Active, Blocked Quantities
	// KeyRevision is the revision of the license key in force (rule I4).
	KeyRevision uint64
	Expiry      time.Time
	GraceDays   uint32
	// Ended reports that the contract is past expiry and grace (rule C5).
	Ended bool
}

// Excess is how many active accounts must go, per area (rule I5).
func (x InstanceStatus) Excess() Quantities { return x.Active.above(x.Allocation) }

// LicenseKey is the content of the license key in force (rule I4).
func (x InstanceStatus) LicenseKey(cluster string) *signed.LicenseKey {
	return &signed.LicenseKey{
		Cluster: cluster, Serial: x.Serial, Contract: x.Contract, Revision: x.KeyRevision,
		Expiry: x.Expiry, GraceDays: x.GraceDays, Allocation: x.Allocation.Map(),
	}
}

func (t *tables) instanceStatus(i *Instance) InstanceStatus {
	c, _ := t.contracts.get(i.Contract)
	x := InstanceStatus{Instance: i, Active: i.Active, KeyRevision: i.keyRevision(c), Expiry: c.Doc.Expiry, GraceDays: c.Doc.GraceDays, Ended: c.ended(t.clock)}
	if !i.Reports {
		u, _ := t.counted.Get(i.Serial)
		x.Active, x.Blocked = u.active, u.blocked
	}
	return x
}

func (s *State) instanceResult(i *Instance) *fsmpb.Outcome_Instance {
	x := s.instanceStatus(i)
	// One piece of memory for what lives and goes together.
	var result struct {
		fsmpb.Outcome_Instance
		status fsmpb.InstanceStatus
		shown  fsmpb.InstanceRecord
	}
	result.Instance = &result.status
	result.status = fsmpb.InstanceStatus{
		Instance: i.record(&result.shown, i.Allocation.proto(), x.Active.proto()), KeyRevision: x.KeyRevision, ExpiryMs: x.Expiry.UnixMilli(),
		GraceDays: x.GraceDays, Ended: x.Ended, Blocked: x.Blocked.proto(),
	}
	return &result.Outcome_Instance
}

// InstanceStatusFromProto reads the status that an outcome carries.
func InstanceStatusFromProto(p *fsmpb.InstanceStatus) InstanceStatus {
	i := instanceFromProto(p.GetInstance())
	return InstanceStatus{
		Instance: i, Active: i.Active, Blocked: QuantitiesFromProto(p.GetBlocked()), KeyRevision: p.GetKeyRevision(),
		Expiry: time.UnixMilli(p.GetExpiryMs()).UTC(), GraceDays: p.GetGraceDays(), Ended: p.GetEnded(),
	}
}

// Instance returns an instance by its serial number, or the refusal that says why there is none.
func (v *View) Instance(serial uint64) (InstanceStatus, *fsmpb.Refusal) {
	i, refusal := v.instance(serial)
	if refusal != nil {
		return InstanceStatus{}, refusal
	}
	return v.instanceStatus(i), nil
}

// Instances returns up to limit instances of a contract, or of all contracts if
// that is empty, whose serial numbers come after the given one, in order.
func (v *View) Instances(contract string, after uint64, limit int) []InstanceStatus {
	var list []InstanceStatus
	if limit <= 0 || after >= v.counters.lastSerial {
		return nil
	}
	if contract == "" {
		v.instances.rows.Ascend(after+1, func(_ uint64, i *Instance) bool {
			list = append(list, v.instanceStatus(i))
			return len(list) < limit
		})
		return list
	}
	v.byContract.keys.Ascend(contractInstance{contract, after + 1}, func(k contractInstance) bool {
		if k.contract != contract {
			return false
		}
		i, _ := v.instances.get(k.serial)
		list = append(list, v.instanceStatus(i))
		return len(list) < limit
	})
	return list
}
