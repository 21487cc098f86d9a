"""docs/kuberay.yaml: against KubeRay's fields, Kubernetes' own schemas, and what Ray's autoscaler makes of it."""

import shlex
import tomllib
from pathlib import Path

import pytest
import tyro
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

TOP = Path(__file__).parents[2]
DOCUMENTS = {d["kind"]: d for d in yaml.safe_load_all((TOP / "docs" / "kuberay.yaml").read_text()) if d}
CLUSTER, JOB = DOCUMENTS["RayCluster"]["spec"], DOCUMENTS["RayJob"]["spec"]
GROUPS = {group["groupName"]: group for group in CLUSTER["workerGroupSpecs"]}
PODS = {"head": CLUSTER["headGroupSpec"]["template"]} | {name: group["template"] for name, group in GROUPS.items()}

# Names and types of the fields, written down by hand from KubeRay's API reference ("KubeRay CRD API reference" in
# Ray's documentation, of 1.6.2) and its custom resource definitions. "template" is Kubernetes' own, checked below.
AUTH = {"mode": ("disabled", "token"), "secretName": str, "enableK8sTokenAuth": bool}
AUTOSCALER = {
    "resources": dict,
    "image": str,
    "imagePullPolicy": str,
    "securityContext": dict,
    "idleTimeoutSeconds": int,
    "upscalingMode": ("Default", "Aggressive", "Conservative"),
    "version": ("v1", "v2"),
    "env": list,
    "envFrom": list,
    "volumeMounts": list,
}
STRINGS = {"*": str}
GROUP = {"template": dict, "rayStartParams": STRINGS, "resources": STRINGS, "labels": STRINGS}
HEAD = GROUP | {"headService": dict, "enableIngress": bool, "serviceType": str}
WORKER = GROUP | {
    "groupName": str,
    "replicas": int,
    "minReplicas": int,
    "maxReplicas": int,
    "numOfHosts": int,
    "suspend": bool,
    "idleTimeoutSeconds": int,
    "scaleStrategy": dict,
}
RAY_CLUSTER = {
    "authOptions": AUTH,
    "autoscalerOptions": AUTOSCALER,
    "enableInTreeAutoscaling": bool,
    "gcsFaultToleranceOptions": dict,
    "headGroupSpec": HEAD,
    "headServiceAnnotations": STRINGS,
    "managedBy": str,
    "rayVersion": str,
    "suspend": bool,
    "upgradeStrategy": dict,
    "workerGroupSpecs": [WORKER],
}
RAY_JOB = {
    "activeDeadlineSeconds": int,
    "backoffLimit": int,
    "clusterSelector": STRINGS,
    "deletionStrategy": dict,
    "entrypoint": str,
    "entrypointNumCpus": float,
    "entrypointNumGpus": float,
    "entrypointResources": str,
    "jobId": str,
    "managedBy": str,
    "metadata": STRINGS,
    "rayClusterSpec": RAY_CLUSTER,
    "runtimeEnvYAML": str,
    "shutdownAfterJobFinishes": bool,
    "submissionMode": ("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"),
    "submitterConfig": dict,
    "submitterPodTemplate": dict,
    "suspend": bool,
    "ttlSecondsAfterFinished": int,
}


def find_faults(value, kind, where="spec"):
    """Fields that the reference does not know, and values of another type, each by its path."""
    if isinstance(kind, dict):
        if not isinstance(value, dict):
            return [f"{where}: no mapping"]
        known = {name: kind.get(name, kind.get("*")) for name in value}
        strange = [f"{where}.{name}: unknown" for name, found in known.items() if found is None]
        inner = [find_faults(value[n], found, f"{where}.{n}") for n, found in known.items() if found is not None]
        return strange + [fault for faults in inner for fault in faults]
    if isinstance(kind, list):
        return [f for k, item in enumerate(value) for f in find_faults(item, kind[0], f"{where}[{k}]")]
    sound = value in kind if isinstance(kind, tuple) else type(value) is kind
    return [] if sound else [f"{where}: {value!r}"]


def test_the_fields_are_kuberay_s():
    assert find_faults(CLUSTER, RAY_CLUSTER) == []
    assert find_faults(JOB, RAY_JOB) == []
    assert {document["apiVersion"] for name, document in DOCUMENTS.items() if name.startswith("Ray")} == {"ray.io/v1"}
    for group in GROUPS.values():
        assert {"groupName", "minReplicas", "maxReplicas", "template"} <= set(group)


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"enableInTreeAutoscalling": True}, "spec.enableInTreeAutoscalling: unknown"),
        ({"authOptions": {"mode": "tokens"}}, "spec.authOptions.mode: 'tokens'"),
        ({"headGroupSpec": {"rayStartParams": {"num-cpus": 0}}}, "spec.headGroupSpec.rayStartParams.num-cpus: 0"),
        ({"workerGroupSpecs": [{"maxReplicas": "8"}]}, "spec.workerGroupSpecs[0].maxReplicas: '8'"),
    ],
)
def test_a_wrong_field_would_be_noticed(changed, fault):
    assert find_faults(CLUSTER | changed, RAY_CLUSTER) == [fault]


def test_the_job_is_one_that_kuberay_takes():
    """KubeRay rejects what a job on a cluster that is there already cannot have."""
    name = DOCUMENTS["RayCluster"]["metadata"]["name"]
    assert JOB["clusterSelector"] == {"ray.io/cluster": name}
    assert not {"rayClusterSpec", "backoffLimit", "suspend", "shutdownAfterJobFinishes"} & set(JOB)


@pytest.mark.parametrize("name", PODS)
def test_pods_are_valid_for_kubernetes(name):
    kubernetes = pytest.importorskip("kubernetes_validate", reason="Kubernetes' schemas are not installed")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": PODS[name]["spec"]}
    kubernetes.validate(pod, kubernetes.latest_version(), strict=True)
    pod["spec"]["containers"][0]["volumeMount"] = []
    with pytest.raises(kubernetes.ValidationError):
        kubernetes.validate(pod, kubernetes.latest_version(), strict=True)
    del pod["spec"]["containers"][0]["volumeMount"]


def test_the_account_is_valid_for_kubernetes():
    kubernetes = pytest.importorskip("kubernetes_validate", reason="Kubernetes' schemas are not installed")
    account = DOCUMENTS["ServiceAccount"]
    kubernetes.validate(account, kubernetes.latest_version(), strict=True)
    with pytest.raises(kubernetes.ValidationError):
        kubernetes.validate({**account, "annotations": {}}, kubernetes.latest_version(), strict=True)


def test_ray_s_autoscaler_reads_the_groups():
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr

    resource = DOCUMENTS["RayCluster"]
    resource = resource | {"metadata": resource["metadata"] | {"namespace": "default"}}
    config = _derive_autoscaling_config_from_ray_cr(resource)
    kinds = config["available_node_types"]
    assert kinds["headgroup"]["resources"]["CPU"] == 0
    assert kinds["gpu-spot"]["resources"] == {"CPU": 15, "GPU": 1, "memory": 56 * 2**30}
    assert kinds["cpu-spot"]["resources"] == {"CPU": 15, "memory": 28 * 2**30}
    assert {name: (kind["min_workers"], kind["max_workers"]) for name, kind in kinds.items()} == {
        "headgroup": (0, 0),
        "gpu-spot": (0, 8),
        "cpu-spot": (0, 12),
    }
    assert config["idle_timeout_minutes"] == yaml.safe_load((TOP / "cluster.yaml").read_text())["idle_timeout_minutes"]


def test_every_pod_asks_for_the_token_and_has_the_role():
    assert CLUSTER["authOptions"]["mode"] == "token"
    assert CLUSTER["authOptions"]["secretName"] in (TOP / "docs" / "kuberay.yaml").read_text().split("---")[0]
    account = DOCUMENTS["ServiceAccount"]["metadata"]
    assert account["annotations"]["eks.amazonaws.com/role-arn"].startswith("arn:aws:iam::")
    for pod in PODS.values():
        assert pod["spec"]["serviceAccountName"] == account["name"]
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True


def test_pods_have_the_settings_of_the_other_cluster():
    config = yaml.safe_load((TOP / "cluster.yaml").read_text())
    start = next(line for line in config["worker_start_ray_commands"] if "ray start" in line)
    for pod in PODS.values():
        for variable in pod["spec"]["containers"][0]["env"]:
            assert f"{variable['name']}={variable['value']}" in start


def test_spot_nodes_take_the_workers_and_their_gpu_is_tried():
    for group in GROUPS.values():
        assert {"key": "spot", "operator": "Exists", "effect": "NoSchedule"} in group["template"]["spec"]["tolerations"]
        assert group["labels"] == {"ray.io/market-type": "spot"}
    gpu = GROUPS["gpu-spot"]["template"]["spec"]
    assert any(toleration["key"] == "nvidia.com/gpu" for toleration in gpu["tolerations"])
    assert "device='cuda'" in gpu["initContainers"][0]["command"][-1]


def test_one_image_whose_ray_is_the_project_s():
    images = {
        c["image"]
        for pod in PODS.values()
        for key in ("containers", "initContainers")
        for c in pod["spec"].get(key, ())
    }
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    assert {image.rpartition(":")[2] for image in images} == {project["version"]}
    wanted = next(Requirement(text) for text in project["dependencies"] if text.startswith("ray["))
    assert Version(CLUSTER["rayVersion"]) in wanted.specifier
    assert f"\nray=={CLUSTER['rayVersion']} " in (TOP / "requirements.lock").read_text()


def test_the_job_s_command_is_one():
    from m3ray.commands.catalogue import COMMANDS
    from m3ray.commands.short_help import load_options

    program, name, *words = shlex.split(JOB["entrypoint"])
    assert program == "m3ray"
    options = tyro.cli(load_options(COMMANDS[name]), args=words)
    assert options.root.startswith("s3://")
