// SPDX-License-Identifier: MPL-2.0

// Package copyend is the least that a proxy can be: a program that copies the bytes
// of connections to another address and back, and looks at none of them. What it
// costs is what any proxy costs on the machine of the hour.
package copyend
