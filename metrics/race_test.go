// SPDX-License-Identifier: MPL-2.0

//go:build race

package metrics

const raceEnabled = true
