// SPDX-License-Identifier: MPL-2.0

// Package netns makes network namespaces, so that each pod of a test has an address, a loopback and all ports of its own,
// as pods have.
//
// It owns the namespaces, the bridge that joins them, and the way of a test program into a namespace of its own, in
// which the bridge does not touch the machine's network. It runs nothing in the pods' namespaces.
//
// It speaks netlink itself: the `ip` program is not on every machine, and the few messages are short. It needs root;
// [Reexec] says so where that is missing.
//
// What always holds: nothing of it is visible outside of the program's own namespaces, and the kernel removes all of it
// when the program ends.
package netns
