// SPDX-License-Identifier: MPL-2.0

package catalog

import (
	"testing"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/goleak"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// patience bounds what a test waits for. It is long because the machine may be slow; where a time is part of what is
// promised, the test measures it.
const patience = 2 * time.Minute

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard()) // it would ask for one on standard error
	goleak.VerifyTestMain(m)
}
