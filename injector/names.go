// SPDX-License-Identifier: MPL-2.0

package injector

import (
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"podplane/meshpod"
)

// containerNames are the names of the dataplanes' containers, by service. Of
// several, each has its service's name in it, or all have their indexes if not
// every service's name can be part of a container's.
func containerNames(services []meshpod.Service) []string {
	if len(services) == 1 {
		return []string{meshpod.ContainerDataplane}
	}
	byName, byIndex := make([]string, len(services)), make([]string, len(services))
	seen, fits := map[string]bool{}, true
	for i, s := range services {
		byIndex[i] = meshpod.ContainerDataplane + "-" + strconv.Itoa(i)
		byName[i] = meshpod.ContainerDataplane + "-" + strings.ReplaceAll(strings.ToLower(s.Name), "_", "-")
		fits = fits && !seen[byName[i]] && len(validation.IsDNS1123Label(byName[i])) == 0
		seen[byName[i]] = true
	}
	if fits {
		return byName
	}
	return byIndex
}
