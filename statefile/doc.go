// SPDX-License-Identifier: MPL-2.0

// Package statefile keeps small secrets of a process in files that survive it.
//
// It owns the form of the files and how they are written and read back. It does
// not know what is in them.
//
// What always holds:
//
//   - A file is readable for its owner only, and replaced as a whole: a reader
//     sees the old content or the new one.
//   - Content is given back only if it is complete, unchanged, and was written
//     under the same name for the same owner; everything else is an error that
//     says why.
package statefile
