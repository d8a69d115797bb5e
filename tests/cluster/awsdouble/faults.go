package awsdouble

import (
	"net/http"
	"strings"
	"sync"
)

// Fault is what happens to the next calls instead of, or before, their answers.
type Fault struct {
	// Call is the operation, such as DescribeCluster. Empty: every one.
	Call string `json:"call"`
	// Principal limits the fault to callers whose ARN contains it.
	Principal string `json:"principal"`
	// Code, Status and Message are the error to return. Without a code, the call is
	// only delayed or lost.
	Code    string `json:"code"`
	Status  int    `json:"status"`
	Message string `json:"message"`
	// Times is the number of calls; zero: every one until the reset.
	Times   int `json:"times"`
	DelayMS int `json:"delay_ms"`
	// Skip is the number of calls that come before the first one with the fault.
	Skip int `json:"skip"`
	// LoseRequest closes the connection and does nothing; LoseAnswer closes it after
	// the call has had its effect.
	LoseRequest bool `json:"lose_request"`
	LoseAnswer  bool `json:"lose_answer"`
}

type faultList struct {
	mu     sync.Mutex
	faults []*Fault
}

func (l *faultList) add(faults []Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, fault := range faults {
		if fault.Status == 0 {
			fault.Status = http.StatusBadRequest
		}
		if fault.Times == 0 {
			fault.Times = -1
		}
		l.faults = append(l.faults, &fault)
	}
}

// take returns the first fault for a call, and counts it.
func (l *faultList) take(c *call) *Fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, fault := range l.faults {
		if fault.Times == 0 ||
			fault.Call != "" && fault.Call != c.operation.Name ||
			!strings.Contains(c.principal.ARN, fault.Principal) {
			continue
		}
		if fault.Skip > 0 {
			fault.Skip--
			continue
		}
		if fault.Times > 0 {
			fault.Times--
		}
		taken := *fault
		return &taken
	}
	return nil
}

func (l *faultList) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = nil
}
