FROM --platform=$TARGETPLATFORM base
