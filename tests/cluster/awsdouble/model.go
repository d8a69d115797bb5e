package awsdouble

import (
	"embed"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// The service models of AWS, as its SDKs are generated from them. Each file names
// its source and date.
//
//go:embed models/*.json
var modelFiles embed.FS

type model struct {
	Metadata struct {
		APIVersion   string `json:"apiVersion"`
		Protocol     string `json:"protocol"`
		XMLNamespace string `json:"xmlNamespace"`
	} `json:"metadata"`
	Operations map[string]*operation `json:"operations"`
	Shapes     map[string]*shape     `json:"shapes"`
}

type operation struct {
	Name string `json:"name"`
	HTTP struct {
		Method     string `json:"method"`
		RequestURI string `json:"requestUri"`
	} `json:"http"`
	Input  shapeRef `json:"input"`
	Output struct {
		Shape         string `json:"shape"`
		ResultWrapper string `json:"resultWrapper"`
	} `json:"output"`
	AuthType string `json:"authtype"`
}

type shapeRef struct {
	Shape        string `json:"shape"`
	Location     string `json:"location"`
	LocationName string `json:"locationName"`
}

type shape struct {
	Type     string              `json:"type"`
	Required []string            `json:"required"`
	Members  map[string]shapeRef `json:"members"`
	Member   shapeRef            `json:"member"`
	Key      shapeRef            `json:"key"`
	Value    shapeRef            `json:"value"`
	Enum     []string            `json:"enum"`
	Min      *float64            `json:"min"`
	Max      *float64            `json:"max"`
	Pattern  string              `json:"pattern"`
	pattern  *regexp.Regexp
}

var javaEscape = regexp.MustCompile(`\\u([0-9A-Fa-f]{4,6})`)

func loadModel(service string) (*model, error) {
	text, err := modelFiles.ReadFile("models/" + service + ".json")
	if err != nil {
		return nil, err
	}
	var m model
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("models/%s.json: %w", service, err)
	}
	for name, s := range m.Shapes {
		if s.Pattern == "" {
			continue
		}
		// A pattern has to match the whole value.
		s.pattern, err = regexp.Compile(`\A(?:` + javaEscape.ReplaceAllString(s.Pattern, `\x{$1}`) + `)\z`)
		if err != nil {
			return nil, fmt.Errorf("models/%s.json, shape %s: %w", service, name, err)
		}
	}
	return &m, nil
}

// restOperation finds the operation of a REST request, and the values of the
// variables in its path.
func (m *model) restOperation(method, escapedPath string) (*operation, map[string]string) {
	for _, op := range m.Operations {
		if op.HTTP.Method != method {
			continue
		}
		if values, ok := matchPath(op.HTTP.RequestURI, escapedPath); ok {
			return op, values
		}
	}
	return nil, nil
}

func matchPath(template, escapedPath string) (map[string]string, bool) {
	names, segments := strings.Split(template, "/"), strings.Split(escapedPath, "/")
	if len(names) != len(segments) {
		return nil, false
	}
	values := map[string]string{}
	for i, name := range names {
		segment, err := url.PathUnescape(segments[i])
		if err != nil {
			return nil, false
		}
		if strings.HasPrefix(name, "{") {
			if segment == "" {
				return nil, false
			}
			values[strings.Trim(name, "{}")] = segment
		} else if name != segment {
			return nil, false
		}
	}
	return values, true
}
