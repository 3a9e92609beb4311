// SPDX-License-Identifier: MPL-2.0

// Package proc runs the programs that integration tests, the demo and the
// benchmark are about: Consul servers, podplane, and what they are compared with.
//
// It owns one process from its start to its end, and its output. It does not
// start one again: a restart is another [Start] with the same [Spec]. It knows
// nothing of the programs that it runs.
//
// What always holds: a process is in a group of its own, and nothing of the group
// outlives the process. The process does not outlive the program that started it,
// however that ends. No goroutine is left once [Process.Done] is closed.
package proc
