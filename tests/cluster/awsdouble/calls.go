package awsdouble

import "sync"

// Call is a call that was signed with valid credentials.
type Call struct {
	Service   string         `json:"service"`
	Operation string         `json:"call"`
	Principal string         `json:"principal"`
	Region    string         `json:"region"`
	Input     map[string]any `json:"input"`
	// Error is the code of the error that was returned, or empty.
	Error string `json:"error,omitempty"`
	// Concurrent is the number of calls that ran at the start of this one, with it.
	Concurrent int `json:"concurrent"`
}

type callLog struct {
	mu      sync.Mutex
	calls   []*Call
	running int
}

func (l *callLog) begin(c *call) *Call {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running++
	record := &Call{
		Service:    c.service.name,
		Operation:  c.operation.Name,
		Principal:  c.principal.ARN,
		Region:     c.region,
		Input:      c.input,
		Concurrent: l.running,
	}
	l.calls = append(l.calls, record)
	return record
}

func (l *callLog) end(record *Call, failed *apiError) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running--
	if failed != nil {
		record.Error = failed.code
	}
}

// take returns copies of the calls since the last time.
func (l *callLog) take(forget bool) []Call {
	l.mu.Lock()
	defer l.mu.Unlock()
	calls := make([]Call, len(l.calls))
	for i, record := range l.calls {
		calls[i] = *record
	}
	if forget {
		l.calls = nil
	}
	return calls
}
