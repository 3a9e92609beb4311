# The images: podplane (with Envoy), podplane-injector, and the example application of deploy/compose.
#
# Nothing is compiled or run here. The static binaries are built before, for each platform, and copied: `make image` puts
# them into bin/linux/ARCH, goreleaser into linux/ARCH of its own folder. So one file serves both, and any platform can
# be built on any other without emulation. The bases are arguments; versions.env has their values.
#
#   make image
#
# or, after `make image-binaries` and with the values of versions.env as arguments:
#
#   docker build --target podplane --build-arg ENVOY_IMAGE=… --build-arg BASE_IMAGE=… .
#
# BuildKit sets TARGETPLATFORM; with the classic builder it is one argument more, `TARGETPLATFORM=linux/amd64`.
ARG ENVOY_IMAGE
ARG BASE_IMAGE

FROM ${ENVOY_IMAGE} AS envoy

FROM ${BASE_IMAGE} AS podplane
ARG TARGETPLATFORM
ARG BINARIES=bin
ARG VERSION=dev
ARG REVISION=unknown
ARG CREATED=
ARG BASE_IMAGE
ARG ENVOY_IMAGE
LABEL org.opencontainers.image.title="podplane" \
    org.opencontainers.image.description="Per-pod dataplane of a Consul service mesh, with its Envoy" \
    org.opencontainers.image.licenses="MPL-2.0 AND Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}" \
    org.opencontainers.image.base.name="${BASE_IMAGE}" \
    podplane.envoy="${ENVOY_IMAGE}"
# The name consul-dataplane, a link, and the licences.
COPY deploy/image/rootfs/ /
COPY LICENSE /usr/share/licenses/podplane/LICENSE
COPY --from=envoy /usr/local/bin/envoy /usr/local/bin/envoy
COPY ${BINARIES}/${TARGETPLATFORM}/podplane /usr/local/bin/podplane
ENV PATH=/usr/local/bin:/usr/bin:/bin
# A number, so that Kubernetes can tell that it is not root.
USER 65532:65532
# It finds Envoy's admin interface by the variables of podplane, DP_…, not by its flags.
HEALTHCHECK --interval=10s --timeout=5s --start-period=1m --retries=3 \
    CMD ["/usr/local/bin/podplane", "-check-proxy-health"]
ENTRYPOINT ["/usr/local/bin/podplane"]

# Before the injector, because the classic builder builds all stages above its target, and needs their binaries.
FROM ${BASE_IMAGE} AS podplane-example
ARG TARGETPLATFORM
ARG BINARIES=bin
ARG VERSION=dev
ARG REVISION=unknown
ARG CREATED=
ARG BASE_IMAGE
LABEL org.opencontainers.image.title="podplane-example" \
    org.opencontainers.image.description="The application of podplane's examples" \
    org.opencontainers.image.licenses="MPL-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}" \
    org.opencontainers.image.base.name="${BASE_IMAGE}"
COPY LICENSE /usr/share/licenses/podplane/LICENSE
COPY ${BINARIES}/${TARGETPLATFORM}/podplane-example /usr/local/bin/podplane-example
ENV PATH=/usr/local/bin:/usr/bin:/bin
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/podplane-example"]

FROM ${BASE_IMAGE} AS podplane-injector
ARG TARGETPLATFORM
ARG BINARIES=bin
ARG VERSION=dev
ARG REVISION=unknown
ARG CREATED=
ARG BASE_IMAGE
LABEL org.opencontainers.image.title="podplane-injector" \
    org.opencontainers.image.description="Puts podplane into Kubernetes pods and their services into Consul's catalog" \
    org.opencontainers.image.licenses="MPL-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}" \
    org.opencontainers.image.base.name="${BASE_IMAGE}"
COPY LICENSE /usr/share/licenses/podplane/LICENSE
COPY ${BINARIES}/${TARGETPLATFORM}/podplane-injector /usr/local/bin/podplane-injector
ENV PATH=/usr/local/bin:/usr/bin:/bin
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/podplane-injector"]

# Without --target it is the sidecar.
FROM podplane
