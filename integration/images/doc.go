// SPDX-License-Identifier: MPL-2.0

// Package images gets the images that the product's are made of and that deploy/compose runs: from a registry where
// one can be reached, else made locally from what is at hand.
//
// It owns the choice, its announcement, and the local images: a folder of files on nothing (`FROM scratch`), named
// podplane-local/…. It does not push anything and removes no image.
//
// What always holds: an image of the pinned name that the engine has already is used as it is; a registry that
// answers, but with a refusal, is an error and no reason to make an image that is not the one that was asked for.
package images
