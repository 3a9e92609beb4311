// SPDX-License-Identifier: MPL-2.0

package serverconn

import "errors"

// material is what the files of a configuration hold.
type material struct {
	security security
	static   token  // anonymous unless credentials are static
	bearer   string // empty unless credentials are for a login
}

// loadMaterial reads everything and reports every mistake at once.
func loadMaterial(c Config) (material, error) {
	var m material
	_, err := m.reload(c)
	return m, err
}

// change is which parts of the material are new.
type change struct{ security, static, bearer bool }

func (c change) any() bool { return c.security || c.static || c.bearer }

// reload reads everything anew. What cannot be read stays as it was, and is in
// the error.
func (m *material) reload(c Config) (change, error) {
	var changed change
	sec, errSecurity := loadSecurity(c.TLS)
	if errSecurity == nil {
		changed.security = sec.print != m.security.print
		if changed.security || m.security.config == nil {
			m.security = sec
		}
	}
	static, errStatic := c.Credentials.staticToken()
	if errStatic == nil && static.secret != m.static.secret {
		m.static, changed.static = static, true
	}
	var errBearer error
	if c.Credentials.Type == CredentialLogin {
		var bearer string
		bearer, errBearer = c.Credentials.Login.bearer()
		if errBearer == nil && bearer != m.bearer {
			m.bearer, changed.bearer = bearer, true
		}
	}
	return changed, errors.Join(errSecurity, errStatic, errBearer)
}
