// SPDX-License-Identifier: MPL-2.0

package config

// Given tells whether the setting with that flag name was given, by whatever
// source, as opposed to having its default.
func (c Config) Given(flag string) bool {
	_, given := c.sources[flag]
	return given
}
