package wasmhost

import "strings"

// MissingProtection is what keeps a compiler's process in, and what this system does not
// give. Modules are compiled without it all the same: within limits of memory and time,
// without environment and inherited descriptors.
type MissingProtection struct {
	Name   string // of the kernel's feature: seccomp or landlock
	Risk   string // what a process that a module has taken over could do, a clause
	Advice string // what an operator can do, a clause
	Err    error  // why it is not there
}

// MissingProtections says what this system does not give; nothing where all is well.
func MissingProtections() []MissingProtection { return missing(CanForbidCalls, CanShutIn) }

func missing(canForbidCalls, canShutIn func() error) (list []MissingProtection) {
	if err := canForbidCalls(); err != nil {
		list = append(list, MissingProtection{
			Name: "seccomp", Err: err,
			Risk:   "start programs and reach networks",
			Advice: "run a kernel with CONFIG_SECCOMP_FILTER, and let a container's profile pass seccomp(2)",
		})
	}
	if err := canShutIn(); err != nil {
		list = append(list, MissingProtection{
			Name: "landlock", Err: err,
			Risk:   "read and change the memory of this user's other processes, the node's too",
			Advice: "run Linux 5.13 or later with landlock among its security modules (lsm=), and let a container's profile pass landlock_create_ruleset and landlock_restrict_self",
		})
	}
	return list
}

// TellMissing joins what one field of several protections says.
func TellMissing(list []MissingProtection, field func(MissingProtection) string) string {
	texts := make([]string, len(list))
	for i, m := range list {
		texts[i] = field(m)
	}
	return strings.Join(texts, "; ")
}
