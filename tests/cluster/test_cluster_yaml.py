"""`cluster.yaml` through Ray's own launcher, and its AWS calls against moto: no cloud, no network."""

import os
import re
import subprocess
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version
from ray.autoscaler._private.autoscaler import StandardAutoscaler
from ray.autoscaler._private.command_runner import DockerCommandRunner, _with_interactive
from ray.autoscaler.tags import TAG_RAY_USER_NODE_TYPE

TOP = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def config():
    return yaml.safe_load((TOP / "cluster.yaml").read_text())


def test_the_image_has_the_ray_that_is_required_and_tested(config):
    import ray

    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    wanted = next(Requirement(text) for text in project["dependencies"] if text.startswith("ray["))
    (version,) = re.findall(r"ray:([0-9.]+)-py", config["docker"]["image"])
    assert Version(version) in wanted.specifier
    assert version == ray.__version__, "the tests ran with another Ray than the cluster's"


def test_workers_cost_nothing_while_idle_and_every_node_asks_for_the_token(config):
    workers = {name: kind for name, kind in config["available_node_types"].items() if name != config["head_node_type"]}
    assert {kind["min_workers"] for kind in workers.values()} == {0}
    market = {name: "InstanceMarketOptions" in kind["node_config"] for name, kind in workers.items()}
    assert market == {"gpu_spot": True, "gpu_on_demand": False, "cpu_spot": True}
    for command in (*config["head_start_ray_commands"], *config["worker_start_ray_commands"]):
        assert "ray start" not in command or "RAY_AUTH_MODE=token" in command


@pytest.fixture
def aws(monkeypatch, tmp_path):
    """EC2 and IAM of moto, and a home folder of our own: the launcher writes SSH keys there."""
    for name, value in {
        "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "HOME": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    moto = pytest.importorskip("moto")
    os.makedirs(tmp_path / ".ssh")
    from ray.autoscaler._private.aws.utils import client_cache, resource_cache

    # Ray keeps clients, with whatever credentials there were when another test asked for the first one.
    for cache in (client_cache, resource_cache):
        cache.cache_clear()
    with moto.mock_aws():
        yield
    for cache in (client_cache, resource_cache):
        cache.cache_clear()


def test_the_launcher_takes_it_and_starts_a_node_of_each_type(config, aws):
    import boto3
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
    from ray.autoscaler._private.util import prepare_config, validate_config

    for role in ("m3ray-head", "m3ray-worker"):
        boto3.client("iam").create_instance_profile(InstanceProfileName=role)
    image = boto3.client("ec2").describe_images()["Images"][0]["ImageId"]
    for kind in config["available_node_types"].values():
        assert kind["node_config"]["ImageId"].startswith("resolve:ssm:/aws/service/deeplearning/")
        kind["node_config"]["ImageId"] = image  # moto has no public parameters to resolve
    prepared = prepare_config(config)
    validate_config(prepared)
    made = AWSNodeProvider.fillout_available_node_types_resources(AWSNodeProvider.bootstrap_config(prepared))
    resources = {name: kind["resources"] for name, kind in made["available_node_types"].items()}
    assert resources["gpu_spot"]["GPU"] == resources["gpu_on_demand"]["GPU"] == 1
    assert resources["cpu_spot"]["CPU"] == 16
    assert resources["ray.head.default"]["CPU"] == 0
    provider = AWSNodeProvider(made["provider"], "m3ray")
    for name, kind in made["available_node_types"].items():
        started = provider.create_node(kind["node_config"], {"ray-node-type": name}, 1)
        (node,) = started.values()
        assert node.instance_type == config["available_node_types"][name]["node_config"]["InstanceType"]
    ec2 = boto3.client("ec2")
    instances = [i for r in ec2.describe_instances()["Reservations"] for i in r["Instances"]]
    assert len(instances) == 4
    profiles = sorted(instance["IamInstanceProfile"]["Arn"].rsplit("/")[-1] for instance in instances)
    assert profiles == ["m3ray-head", "m3ray-worker", "m3ray-worker", "m3ray-worker"]
    assert all({"Key": "project", "Value": "m3ray"} in instance["Tags"] for instance in instances)
    groups = ec2.describe_security_groups(GroupIds=[instances[0]["SecurityGroups"][0]["GroupId"]])["SecurityGroups"]
    open_to_all = [rule for group in groups for rule in group["IpPermissions"] if rule["IpRanges"]]
    assert [(rule["FromPort"], rule["ToPort"]) for rule in open_to_all] == [(22, 22)]


GPU_VARIABLES = ("-e NVIDIA_VISIBLE_DEVICES=all", "-e NVIDIA_DRIVER_CAPABILITIES=compute,utility,video")
GPU_TYPES = ("gpu_spot", "gpu_on_demand")


class Host:
    """A node's machine as the launcher's SSH sees it: Docker with NVIDIA's runtime, with or without a GPU."""

    ssh_user, cluster_name = "ubuntu", "m3ray"

    def __init__(self, has_gpu):
        self.has_gpu, self.commands = has_gpu, []

    def run(self, command, **_):
        self.commands.append(command)
        if command == "nvidia-smi" and not self.has_gpu:
            raise RuntimeError("no devices were found")
        answers = {".State.Running": b"false", ".Config.Env": b"[]", ".Runtimes": b"nvidia-container-runtime runc"}
        return next((answer for part, answer in answers.items() if part in command), b"")


def start_container(config, node_type):
    """The `docker run` of a worker of a type, made by Ray's own launcher from the options that its autoscaler takes."""
    autoscaler = StandardAutoscaler.__new__(StandardAutoscaler)
    autoscaler.config, autoscaler.available_node_types = config, config["available_node_types"]
    autoscaler.provider = SimpleNamespace(node_tags=lambda _: {TAG_RAY_USER_NODE_TYPE: node_type})
    docker = autoscaler._get_node_specific_docker_config("node")
    names = ("log_prefix", "node_id", "provider", "auth_config", "cluster_name", "process_runner", "use_internal_ip")
    given = dict.fromkeys(names, "") | {"auth_config": config["auth"], "use_internal_ip": True}
    runner = DockerCommandRunner(docker, **given)
    host = runner.ssh_command_runner = Host(has_gpu=node_type in GPU_TYPES)
    runner.run_init(as_head=False, file_mounts={}, sync_run_yet=True)
    (command,) = (text for text in host.commands if text.startswith("docker run"))
    return command


@pytest.mark.parametrize("node_type", GPU_TYPES)
def test_the_container_of_a_gpu_node_is_given_its_gpu(config, node_type):
    """The launcher adds NVIDIA's runtime by itself, which gives devices only to containers that ask by variables."""
    command = start_container(config, node_type)
    for words in (*GPU_VARIABLES, "--runtime=nvidia", *config["docker"]["run_options"]):
        assert words in command


def test_a_container_without_a_gpu_does_not_ask_for_one(config):
    """Where NVIDIA's runtime is Docker's default, a container that asks is not started on a machine without a GPU."""
    command = start_container(config, "cpu_spot")
    assert "nvidia" not in command.lower()
    assert not any("NVIDIA" in option for option in config["docker"]["run_options"]), "the head's too"


def run_guard(config, vendors, python):
    """The setup command that tries the GPU, with another folder of PCI devices and a given `python`."""
    (guard,) = config["worker_setup_commands"]
    text = guard.replace("/sys/bus/pci/devices", str(vendors)).replace("python -c", f"{python} -c")
    command = " ".join(_with_interactive(text))  # the shell that the launcher runs it in
    return subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


def test_a_gpu_node_without_cuda_is_not_set_up(config, tmp_path):
    assert run_guard(config, tmp_path, "false").returncode == 0, "no PCI device"
    for name, vendor in {"0000:00:00.0": "0x8086", "0000:31:00.0": "0x10de"}.items():
        assert run_guard(config, tmp_path, "false").returncode == 0, "a CPU node: no device of NVIDIA's (0x10de)"
        (tmp_path / name).mkdir()
        (tmp_path / name / "vendor").write_text(f"{vendor}\n")
    assert run_guard(config, tmp_path, "true").returncode == 0, "a GPU that computes"
    failed = run_guard(config, tmp_path, "false")
    assert failed.returncode == 1
    assert "This node has a GPU that PyTorch cannot compute on. Its container needs NVIDIA's runtime" in failed.stderr


def test_workers_run_the_guard_after_the_installation(config):
    from ray.autoscaler._private.util import prepare_config

    made = prepare_config({**config, "cluster_name": "m3ray"})
    assert made["worker_setup_commands"] == config["setup_commands"] + config["worker_setup_commands"]
    assert not any("worker_setup_commands" in kind for kind in made["available_node_types"].values())


def test_every_node_hides_gpus_from_tasks_that_ask_for_none(config):
    for command in (*config["head_start_ray_commands"], *config["worker_start_ray_commands"]):
        assert "ray start" not in command or "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO=1" in command


def read_manifest():
    """The cluster of docs/kuberay.yaml, and its group of GPUs."""
    documents = yaml.safe_load_all((TOP / "docs" / "kuberay.yaml").read_text())
    (cluster,) = (document["spec"] for document in documents if document["kind"] == "RayCluster")
    (group,) = (group for group in cluster["workerGroupSpecs"] if group["groupName"] == "gpu-spot")
    return cluster, group


def test_the_manifest_for_kubernetes_agrees_with_the_launcher_s(config):
    cluster, group = read_manifest()
    assert cluster["rayVersion"] in config["docker"]["image"]
    assert group["maxReplicas"] == config["available_node_types"]["gpu_spot"]["max_workers"]
    (container,) = group["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == container["resources"]["requests"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    variables = {each["name"]: each["value"] for each in container["env"]}
    (start,) = (text for text in config["worker_start_ray_commands"] if "ray start" in text)
    assert variables.items() <= dict(re.findall(r"(\w+)=(\S+)", start)).items()
    assert {"OMP_WAIT_POLICY", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"} <= set(variables)
    assert cluster["authOptions"]["mode"] == "token"
    assert "RAY_AUTH_MODE=token" in start


def test_a_pod_whose_gpu_does_not_compute_does_not_join(config):
    _, group = read_manifest()
    pod = group["template"]["spec"]
    (guard,), (worker,) = pod["initContainers"], pod["containers"]
    assert guard["image"] == worker["image"]
    assert guard["resources"]["limits"]["nvidia.com/gpu"] == worker["resources"]["limits"]["nvidia.com/gpu"]
    compile(guard["command"][-1], "guard", "exec")
    assert guard["command"][-1] in config["worker_setup_commands"][0], "as on AWS"
