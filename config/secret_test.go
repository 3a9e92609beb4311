// SPDX-License-Identifier: MPL-2.0

package config

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

const token = "b0a1c2d3-hush"

func TestSecretIsNeverShown(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, valid("-credential-type=static", "-static-token="+token, "-telemetry-prom-service-metrics-url=http://u:"+token+"@h/m"),
		env{"DP_CREDENTIAL_LOGIN_BEARER_TOKEN": token})
	creds := c.Consul.Credentials
	if creds.Static.Token.Reveal() != token || creds.Login.BearerToken.Reveal() != token {
		t.Fatal("the tokens did not arrive")
	}
	encoded, err := json.Marshal(creds)
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{string(encoded), c.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		texts = append(texts, fmt.Sprintf(verb, creds), fmt.Sprintf(verb, &creds), fmt.Sprintf(verb, c.Consul), fmt.Sprintf(verb, creds.Static.Token))
	}
	for _, verb := range []string{"%v", "%+v", "%s"} {
		texts = append(texts, fmt.Sprintf(verb, c), fmt.Sprintf(verb, *c))
	}
	for _, text := range texts {
		if strings.Contains(text, token) || strings.Contains(text, fmt.Sprintf("%x", token)) {
			t.Errorf("shown in %s", text)
		}
	}
	if got := fmt.Sprintf("[%v]", Secret("")); got != "[]" {
		t.Errorf("an empty secret is %s", got)
	}
	if text, err := Secret(token).MarshalText(); string(text) != redacted || err != nil {
		t.Errorf("as text: %s, %v", text, err)
	}
}

func TestErrorsHideSecrets(t *testing.T) {
	t.Parallel()
	file := writeFile(t, "c.json", `{"consul": {"credentials": {"static": "`+token+`", "login": {"bearerToken": ["`+token+`"], "bearerTokn": "`+token+`"}}}}`)
	got := problems(t, []string{
		"-config-file", file, "-static-tokn=" + token, "-static-tokeen", token, "-static-token", "x", token,
		"-credential-type=static", "-static-token-path=p", "-static-token=" + token,
	}, env{"DP_CREDENTIAL_LOGIN_BEARER_TOKEN": token})
	if len(got) < 8 {
		t.Errorf("%d problems", len(got))
	}
	if all := strings.Join(got, "\n"); strings.Contains(all, token) {
		t.Errorf("shown in %s", all)
	}
}

// TestMisspeltFlagsHideSecrets has what may come of a secret's flag by a slip of the keyboard.
func TestMisspeltFlagsHideSecrets(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"colon":                {"-static-token:" + token},
		"colon, unknown":       {"-statictoken:" + token},
		"other separators":     {"-static-token/" + token, "-static-token " + token, "-static-token\t" + token, "-static_token=" + token},
		"value of two words":   {"-statictoken", "x", token},
		"value of three words": {"-statictoken", "x", "y", token},
		"dash in the middle":   {"-statictoken=x", token},
		"URL alone":            {"http://u:" + token + "@h/m"},
		"URL after a switch":   {"-log-json", "http://u:" + token + "@h/m"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := problems(t, valid(args...), nil)
			if all := strings.Join(got, "\n"); strings.Contains(all, token) {
				t.Errorf("shown in %s", all)
			}
		})
	}
	// What is no secret is shown again after the next flag that is known.
	wantOne(t, problems(t, valid("-log-level=info", "stray"), nil), `"stray"`)
}

func TestHidePasswords(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                              "",
		"http://h/m":                    "http://h/m",
		"a@b":                           "a@b",
		"a@b://c":                       "a@b://c",
		"http://u:pass@h/m":             "http://<redacted>@h/m",
		"http://u:pa,ss@h/m":            "http://<redacted>@h/m",
		"http://u:pa@ss@h/m":            "http://<redacted>@h/m",
		"http://u:p@h,http://v:q@i/m":   "http://<redacted>@i/m",
		"http://h/m,http://u:p,q@i/m,x": "http://<redacted>@i/m,x",
	} {
		if got := hidePasswords(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

func TestStringShowsWhatWasGiven(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, []string{"-addresses=a", "-proxy-service-id=id", "-static-token=" + token, "-login-meta=b=2", "-login-meta=a=1", "-envoy-drain-time-seconds=5"}, nil)
	want := "addresses=a static-token=<redacted> login-meta=a=1,b=2 proxy-id=id envoy-drain-time-seconds=5"
	if got := c.String(); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}
