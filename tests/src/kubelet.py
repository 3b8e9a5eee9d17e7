"""Runs a pod as Kubernetes' kubelet does: by the container runtime interface of a containerd.

    kubelet.py SOCKET IMAGE FOLDER < POD

POD is YAML or JSON: a Pod, or something with a Pod as its template. IMAGE is run whatever image the pod names.
Emptydirs are made in FOLDER, profiles of the node's own are read from it. What the pod's first container writes is written here, its status is that of
this program.

Sources of the messages' numbers: k8s.io/cri-api/pkg/apis/runtime/v1/api.proto; of what kubelet sends:
k8s.io/kubernetes/pkg/kubelet/kuberuntime (security_context.go, kuberuntime_container.go).
"""

import os
import sys
import time

import grpc
import yaml

# What kubelet has hidden and made read-only where `procMount` is not `Unmasked`.
MASKED = (
    "/proc/asound /proc/acpi /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list /proc/timer_stats"
    " /proc/sched_debug /proc/scsi /sys/firmware"
).split()
READ_ONLY = "/proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger".split()

# NamespaceMode
POD, CONTAINER, NODE = range(3)
# SecurityProfile.ProfileType
PROFILES = {"RuntimeDefault": 0, "Unconfined": 1, "Localhost": 2}
# ContainerState
EXITED = 2


def number(value):
    """A number of variable length."""
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes(encoded + bytes([value]))


def message(*fields):
    """A message of pairs of a field's number and its value: a number, a text, a message or a list of them."""
    encoded = b""
    for field, value in fields:
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, int):
                encoded += number(field << 3) + number(int(item))
            else:
                item = item.encode() if isinstance(item, str) else item
                encoded += number(field << 3 | 2) + number(len(item)) + item
    return encoded


def read_number(encoded, place):
    value = shift = 0
    while True:
        byte = encoded[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place


def fields(encoded):
    """The last value of each field of a message."""
    found, place = {}, 0
    while place < len(encoded):
        key, place = read_number(encoded, place)
        size, place = read_number(encoded, place)
        if key & 7 == 2:
            found[key >> 3] = encoded[place : place + size]
            place += size
        else:
            found[key >> 3] = size
    return found


class Runtime:
    """A container runtime."""

    def __init__(self, socket):
        self.channel = grpc.insecure_channel("unix://" + socket)

    def call(self, name, *request):
        call = self.channel.unary_unary("/runtime.v1.RuntimeService/" + name)
        return fields(call(message(*request), timeout=120, wait_for_ready=True))


def wrapped(value):
    """A list of a message with one number, or of nothing: an optional number."""
    return [] if value is None else [message((1, value))]


class Pod:
    """A pod of one container."""

    def __init__(self, document, folder):
        spec = document["spec"]
        while "containers" not in spec:
            spec = spec["template"]["spec"]
        self.spec, self.folder = spec, folder
        self.container = spec["containers"][0]
        # A container's settings stand before its pod's.
        self.security = {**spec.get("securityContext", {}), **self.container.get("securityContext", {})}
        if self.security.get("runAsNonRoot") and not self.security.get("runAsUser"):
            sys.exit("kubelet: the pod asks for another user than root and names none")

    def profile(self):
        profile = self.security.get("seccompProfile", {"type": "Unconfined"})
        file = profile.get("localhostProfile")
        path = os.path.join(self.folder, file) if file else []
        return message((1, PROFILES[profile["type"]]), (2, path))

    def namespaces(self):
        # As with `hostNetwork`: a network of the pod's own takes a plugin.
        return message((1, NODE), (2, CONTAINER), (3, POD))

    def sandbox(self):
        """PodSandboxConfig"""
        name = "pod-%d" % os.getpid()
        security = message((1, self.namespaces()), (9, message((1, 0))))
        return message(
            (1, message((1, name), (2, name), (3, "default"))),
            (3, self.folder),
            (8, message((2, security))),
        )

    def security_context(self):
        """LinuxContainerSecurityContext"""
        capabilities = self.security.get("capabilities", {})
        capabilities = message((1, capabilities.get("add", [])), (2, capabilities.get("drop", [])))
        is_unmasked = self.security.get("procMount") == "Unmasked"
        group = self.spec.get("securityContext", {}).get("fsGroup")
        return message(
            (1, capabilities),
            (3, self.namespaces()),
            (5, wrapped(self.security.get("runAsUser"))),
            (12, wrapped(self.security.get("runAsGroup"))),
            (7, self.security.get("readOnlyRootFilesystem", False)),
            (8, [] if group is None else [group]),
            (11, not self.security.get("allowPrivilegeEscalation", True)),
            (13, [] if is_unmasked else MASKED),
            (14, [] if is_unmasked else READ_ONLY),
            (15, self.profile()),
        )

    def volume(self, volume):
        """The path of a volume on this machine."""
        if "hostPath" in volume:
            return volume["hostPath"]["path"]
        path = os.path.join(self.folder, volume["name"])
        os.makedirs(path, exist_ok=True)
        os.chmod(path, 0o777)
        group = self.spec.get("securityContext", {}).get("fsGroup")
        if group is not None:
            os.chown(path, -1, group)
            os.chmod(path, 0o2777)
        return path

    def mounts(self):
        paths = {volume["name"]: self.volume(volume) for volume in self.spec.get("volumes", [])}
        for mount in self.container.get("volumeMounts", []):
            read_only = mount.get("readOnly", False)
            yield message((1, mount["mountPath"]), (2, paths[mount["name"]]), (3, read_only))
        # Of each pod, kubelet mounts these.
        for path, name in [("/etc/hosts", "etc-hosts"), ("/dev/termination-log", "termination-log")]:
            file = os.path.join(self.folder, name)
            with open(file, "w") as opened:
                opened.write("127.0.0.1 localhost\n" if name == "etc-hosts" else "")
            os.chmod(file, 0o644 if name == "etc-hosts" else 0o666)
            yield message((1, path), (2, file))

    def config(self, image):
        """ContainerConfig"""
        container = self.container
        variables = [message((1, one["name"]), (2, one["value"])) for one in container.get("env", [])]
        return message(
            (1, message((1, container["name"]))),
            (2, message((1, image))),
            (3, container.get("command", [])),
            (4, container.get("args", [])),
            (5, container.get("workingDir", "")),
            (6, variables),
            (7, list(self.mounts())),
            (11, "log"),
            (15, message((2, self.security_context()))),
        )


def run(runtime, pod, image):
    """Runs the pod to the end of its container and returns its status."""
    sandbox = pod.sandbox()
    pod_id = runtime.call("RunPodSandbox", (1, sandbox))[1]
    try:
        config = pod.config(image)
        container = runtime.call("CreateContainer", (1, pod_id), (2, config), (3, sandbox))[1]
        runtime.call("StartContainer", (1, container))
        # There are events of it in later versions only.
        while (status := fields(runtime.call("ContainerStatus", (1, container))[1])).get(3) != EXITED:
            time.sleep(0.02)
        return status.get(7, 0)
    finally:
        runtime.call("StopPodSandbox", (1, pod_id))
        runtime.call("RemovePodSandbox", (1, pod_id))


def show(log):
    """Writes what a container wrote: its log has the time, the stream, whether the line ends, and the text."""
    with open(log, "rb") as lines:
        for line in lines:
            _, stream, part, text = line.rstrip(b"\n").split(b" ", 3)
            out = sys.stdout if stream == b"stdout" else sys.stderr
            out.buffer.write(text if part == b"P" else text + b"\n")
            out.flush()


def main():
    socket, image, folder = sys.argv[1:]
    log = os.path.join(folder, "log")
    # The runtime would add to that of an earlier pod.
    open(log, "w").close()
    status = run(Runtime(socket), Pod(yaml.safe_load(sys.stdin), folder), image)
    show(log)
    return status


sys.exit(main())
