// SPDX-License-Identifier: MPL-2.0

package metrics

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"podplane/metrics/exposition"
)

// accepts is what a scraper says it takes, as weights from 0 to 1.
type accepts struct{ text, openMetrics float64 }

// parseAccept reads the header Accept. Without one, any text is welcome.
func parseAccept(h http.Header) accepts {
	values := h.Values("Accept")
	if len(values) == 0 {
		return accepts{text: 1}
	}
	var a accepts
	for part := range strings.SplitSeq(strings.Join(values, ","), ",") {
		media, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		q := 1.0
		if v, err := strconv.ParseFloat(params["q"], 64); err == nil {
			q = v
		}
		switch version := params["version"]; media {
		case "application/openmetrics-text":
			if version == "" || version == "1.0.0" || version == "0.0.1" {
				a.openMetrics = max(a.openMetrics, q)
			}
		case "text/plain":
			if version == "" || version == "0.0.4" {
				a.text = max(a.text, q)
			}
		case "text/*", "*/*":
			a.text = max(a.text, q)
		}
	}
	return a
}

// wantsOpenMetrics says whether it is at least as welcome as the text format.
func (a accepts) wantsOpenMetrics() bool {
	return a.openMetrics > 0 && a.openMetrics >= a.text
}

// ask returns the Accept header for the sources of such a scraper.
func (a accepts) ask() string {
	if a.wantsOpenMetrics() {
		return "application/openmetrics-text;version=1.0.0;q=0.9,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
	}
	return "text/plain;version=0.0.4,*/*;q=0.1"
}

// format chooses what the scraper gets. OpenMetrics has to be wanted, and then
// it also has to be worth it: it has no word for a counter whose name does not
// end in _total, of which Envoy has hundreds, so text that came in as text goes
// out as text if the scraper takes that too.
func (a accepts) format(sources []exposition.Source) exposition.Format {
	if !a.wantsOpenMetrics() {
		return exposition.Text
	}
	if a.text <= 0 {
		return exposition.OpenMetrics
	}
	for _, s := range sources {
		if s.Exposition.Format() == exposition.OpenMetrics {
			return exposition.OpenMetrics
		}
	}
	return exposition.Text
}

// acceptsGzip says whether the header Accept-Encoding allows gzip.
func acceptsGzip(h http.Header) bool {
	for part := range strings.SplitSeq(strings.Join(h.Values("Accept-Encoding"), ","), ",") {
		coding, param, _ := strings.Cut(part, ";")
		if c := strings.TrimSpace(coding); c != "gzip" && c != "*" {
			continue
		}
		q, weighted := strings.CutPrefix(strings.TrimSpace(param), "q=")
		v, err := strconv.ParseFloat(q, 64)
		return !weighted || err != nil || v > 0
	}
	return false
}

const (
	// timeoutHeader is how Prometheus tells when it will give up.
	timeoutHeader = "X-Prometheus-Scrape-Timeout-Seconds"

	// maxTimeout bounds what a client may ask for.
	maxTimeout = 5 * time.Minute
)

// scrapeTimeout returns when the client gives up, and how long the sources may
// take of that: a tenth, and at most half a second, is left for the answer.
func scrapeTimeout(h http.Header, fallback time.Duration) (client, sources time.Duration) {
	client = fallback
	if v, err := strconv.ParseFloat(h.Get(timeoutHeader), 64); err == nil && v > 0 {
		client = time.Duration(min(v, maxTimeout.Seconds()) * float64(time.Second))
	}
	return client, client - min(client/10, 500*time.Millisecond)
}
