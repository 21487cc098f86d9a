"""`cluster.yaml` through Ray's own launcher, and its AWS calls against moto: no cloud, no network."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

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
    with moto.mock_aws():
        yield


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


def test_the_container_of_a_gpu_node_is_given_its_gpu(config):
    """The launcher adds NVIDIA's runtime by itself, which gives devices only to containers that ask by variables."""
    from ray.autoscaler._private.docker import docker_start_cmds

    docker = config["docker"]
    options = [*docker["run_options"], "--runtime=nvidia"]  # command_runner._configure_runtime, where nvidia-smi works
    command = docker_start_cmds(
        "ubuntu", docker["image"], {}, docker["container_name"], options, "m3ray", "/home/ray", "docker"
    )
    for variable in GPU_VARIABLES:
        assert variable in command


def run_guard(config, driver_file, python):
    """The setup command that tries the GPU, with another file in place of the driver's and a given `python`."""
    (guard,) = (text for text in config["setup_commands"] if "/proc/driver/nvidia" in text)
    text = guard.replace("/proc/driver/nvidia/version", str(driver_file)).replace("python -c", f"{python} -c")
    return subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=False)


def test_a_gpu_node_without_cuda_is_not_set_up(config, tmp_path):
    driver = tmp_path / "version"
    assert run_guard(config, driver, "false").returncode == 0, "a CPU node: its host has no driver"
    driver.touch()
    assert run_guard(config, driver, "true").returncode == 0, "a GPU that computes"
    failed = run_guard(config, driver, "false")
    assert failed.returncode == 1
    assert "PyTorch cannot compute on it: see NVIDIA_VISIBLE_DEVICES in cluster.yaml" in failed.stderr


def test_every_node_hides_gpus_from_tasks_that_ask_for_none(config):
    for command in (*config["head_start_ray_commands"], *config["worker_start_ray_commands"]):
        assert "ray start" not in command or "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO=1" in command


def test_the_manifest_for_kubernetes_agrees_with_the_launcher_s(config):
    (block,) = re.findall(r"```yaml\n(apiVersion.*?)```", (TOP / "docs" / "cluster.md").read_text(), re.DOTALL)
    spec = yaml.safe_load(block)["spec"]
    cluster = spec["rayClusterSpec"]
    assert cluster["rayVersion"] in config["docker"]["image"]
    (group,) = cluster["workerGroupSpecs"]
    assert group["maxReplicas"] == config["available_node_types"]["gpu_spot"]["max_workers"]
    (container,) = group["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == container["resources"]["requests"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
