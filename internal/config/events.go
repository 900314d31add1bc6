package config

import (
	"time"

	"github.com/caxton-run/caxton/events"
)

// check reports what is out of bounds in the section events.
func (e Events) check(f *events.Faults, within func(key string, v, low, high int64), during func(key string, v, low, high time.Duration)) {
	within("events.cache_bytes", int64(e.CacheBytes), 1<<20, 64<<30)
	if e.ScavengeEvery != 0 {
		during("events.scavenge_every", e.ScavengeEvery, time.Second, 365*24*time.Hour)
	}
	during("events.audit.retention", e.Audit.Retention, 0, 100*365*24*time.Hour)
	if keep := e.Retention; keep != 0 {
		during("events.retention", keep, time.Second, 100*365*24*time.Hour)
		if audit := e.Audit.Retention; keep < audit {
			f.Add("events.retention", "must not be below events.audit.retention, which keeps all for %s, got %s", audit, keep)
		}
		if e.ScavengeEvery == 0 {
			f.Add("events.retention", "needs events.scavenge_every, which is 0: nothing is ever removed")
		}
	}
	within("events.disk.warn_percent", int64(e.Disk.WarnPercent), 1, 100)
	within("events.disk.refuse_percent", int64(e.Disk.RefusePercent), max(1, int64(e.Disk.WarnPercent)), 100)
	within("events.disk.read_only_percent", int64(e.Disk.ReadOnlyPercent), max(1, int64(e.Disk.RefusePercent)), 100)
	within("events.disk.ballast", int64(e.Disk.Ballast), 0, 64<<30)
}
