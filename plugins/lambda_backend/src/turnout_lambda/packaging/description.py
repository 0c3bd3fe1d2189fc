"""A deployment on Lambda: the code that Chalice packaged, and the template completed with what it leaves out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from turnout.errors import BackendError, SettingsError
from turnout.interfaces.connector_source import DESCRIPTIONS
from turnout.interfaces.deployment import Deployment, Description, Parameter, Resource
from turnout.interfaces.opening import read_options

from turnout_lambda.packaging.functions import MOST_S, QUEUE, RUNNER, Function, functions_of
from turnout_lambda.packaging.options import LambdaOptions
from turnout_lambda.runtime import SECRET_PREFIX
from turnout_lambda.sqs_hints import BATCH
from turnout_lambda.sqs_options import SqsOptions

__all__ = ["describe"]

CODE: Final = Path("code.zip")
_NODE_RUNS: Final = sys.version_info >= (3, 12)
"""Node's program needs a C library of 2018, glibc 2.28. Lambda's Python 3.11 and older have that of Amazon Linux 2, 2.26
(https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html)."""
_TRUST: Final = "2012-10-17"
_SCHEDULES: Final = "SchedulesRole"
_NETWORK: Final = (
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
)
"""What Lambda does with its role to be in a network; none of it can be narrowed to a resource
(https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html)."""


def describe(deployment: Deployment, directory: Path, tell: Callable[[str], None]) -> Description:
    """As `Target.describe`."""
    try:
        import chalice  # noqa: F401
    except ImportError:
        raise BackendError("functions are packaged by Chalice: install `turnout-lambda[package]`") from None
    options = deployment.read(LambdaOptions)
    if not (_NODE_RUNS or options.layers) and any(placed.shape.name == RUNNER for placed in deployment.services):
        raise SettingsError(
            "services.runner.target: Node does not run beside Lambda's Python 3.11, whose system is too old: package with "
            "Python 3.12 or later, or name a layer with Node for it in `targets.lambda.layers`",
            setting="services.runner.target",
        )
    functions = functions_of(deployment, options.memory)
    template = _package(deployment, functions, options, directory / CODE, tell)
    return Description(
        resources=tuple(_resources(deployment, functions, options, template)),
        parameters=tuple(_parameters(deployment, options)),
        outputs={
            f"{function.id}Url": {"Fn::GetAtt": [f"{function.id}Url", "FunctionUrl"]}
            for function in functions
            if function.kind == "routes"
        },
        artefacts={"CodeKey": CODE},
        notes=tuple(_notes(deployment)),
    )


def _package(
    deployment: Deployment,
    functions: Sequence[Function],
    options: LambdaOptions,
    code: Path,
    tell: Callable[[str], None],
) -> Mapping[str, Any]:
    from turnout_lambda.packaging.archive import MOST_BYTES, keep_node_alone, pack, unpack
    from turnout_lambda.packaging.chalice_app import check_content, package_app, write_app
    from turnout_lambda.packaging.distributions import installed

    with TemporaryDirectory(prefix="turnout-") as name:
        app, content = Path(name) / "app", Path(name) / "content"
        app.mkdir()
        policies = {function.handler: _policy(deployment, function, options) for function in functions}
        write_app(app, deployment, functions, policies, architecture=options.architecture)
        node = not options.layers and any(function.service == RUNNER for function in functions)
        found = installed(node=node, descriptions=(deployment.root / DESCRIPTIONS).is_dir())
        tell(f"lambda: packaging {len(functions)} functions with {len(found.pins) + len(found.sources)} distributions")
        archive, template = package_app(app, found)
        unpack(archive, content)
        if node:
            keep_node_alone(content)
        check_content(content, functions, found)
        size = pack(content, code)
        if size > MOST_BYTES:
            raise BackendError(f"the package has {size:,} bytes unpacked, and Lambda takes {MOST_BYTES:,}")
        tell(f"lambda: {code.name}: {code.stat().st_size / 1e6:.1f} MB, {size / 1e6:.1f} MB unpacked")
        return template


def _policy(deployment: Deployment, function: Function, options: LambdaOptions) -> Mapping[str, Any]:
    """What the function may do, and no more."""
    statements: list[tuple[Sequence[str], list[Any], Mapping[str, Any]]] = [
        (("logs:CreateLogStream", "logs:PutLogEvents"), [{"Fn::GetAtt": [f"{function.id}Logs", "Arn"]}], {}),
        (("secretsmanager:GetSecretValue",), [{"Ref": _parameter_of(name)} for name in deployment.variables], {}),
        *(
            (permission.actions, list(permission.resources), permission.condition)
            for permission in deployment.permissions
        ),
    ]
    if options.vpc:
        statements.append((_NETWORK, ["*"], {}))
    return {
        "Version": _TRUST,
        "Statement": [
            {
                "Effect": "Allow",
                "Action": list(actions),
                "Resource": [_sub(one) for one in resources],
                **({"Condition": dict(condition)} if condition else {}),
            }
            for actions, resources, condition in statements
            if resources
        ],
    }


def _sub(resource: Any) -> Any:
    return {"Fn::Sub": resource} if isinstance(resource, str) and "${" in resource else resource


def _parameter_of(variable: str) -> str:
    return "".join(word.capitalize() for word in variable.split("_")) + "Secret"


def _parameters(deployment: Deployment, options: LambdaOptions) -> Iterator[Parameter]:
    yield Parameter(name="ArtefactBucket", description="The S3 bucket that the code was uploaded to.")
    yield Parameter(name="CodeKey", description="The key of the code in that bucket.")
    if options.vpc:
        yield Parameter(
            name="SubnetIds",
            type="List<AWS::EC2::Subnet::Id>",
            description="Subnets from which the stores, and by NAT the internet, are reached.",
        )
        yield Parameter(
            name="SecurityGroupIds",
            type="List<AWS::EC2::SecurityGroup::Id>",
            description="Security groups that the stores let in.",
        )
    for variable in deployment.variables:
        yield Parameter(
            name=_parameter_of(variable),
            description=f"The ARN of the secret in Secrets Manager whose text is {variable}.",
        )


def _resources(
    deployment: Deployment, functions: Sequence[Function], options: LambdaOptions, template: Mapping[str, Any]
) -> Iterator[Resource]:
    made = template["Resources"]
    tags = {"turnout:project": deployment.project, "turnout:environment": deployment.environment, **options.tags}
    listed = [{"Key": name, "Value": value} for name, value in sorted(tags.items()) if value]
    for function in functions:
        properties = made[function.id]["Properties"]
        yield Resource(
            id=f"{function.id}Logs",
            type="AWS::Logs::LogGroup",
            properties={
                "LogGroupName": f"/aws/lambda/{function.name}",
                "RetentionInDays": options.log_days,
                "Tags": listed,
            },
        )
        yield Resource(
            id=f"{function.id}Role",
            type="AWS::IAM::Role",
            properties={**made[f"{function.id}Role"]["Properties"], "Tags": listed},
        )
        yield _function(deployment, function, options, properties, listed)
        yield from _called(deployment, function)
        yield _alarm(function, options)
    scheduled = [function for function in functions if function.every_min is not None]
    if scheduled:
        yield _schedules_role(scheduled, listed)


def _function(
    deployment: Deployment,
    function: Function,
    options: LambdaOptions,
    made: Mapping[str, Any],
    tags: Sequence[Mapping[str, str]],
) -> Resource:
    variables: dict[str, Any] = {"TURNOUT_ENV": deployment.environment} if deployment.environment else {}
    variables |= {f"{SECRET_PREFIX}{name}": {"Ref": _parameter_of(name)} for name in deployment.variables}
    # What is told is bounded where its messages are read, so that none is read for a function that may not run.
    limit = {} if function.processes is None or function.told else {"ReservedConcurrentExecutions": function.processes}
    network = {"SubnetIds": {"Ref": "SubnetIds"}, "SecurityGroupIds": {"Ref": "SecurityGroupIds"}}
    return Resource(
        id=function.id,
        type="AWS::Lambda::Function",
        properties={
            "FunctionName": function.name,
            "Description": f"Turnout: {function.kind} {function.trigger!r} of {function.service!r}",
            "Runtime": f"python{sys.version_info.major}.{sys.version_info.minor}",
            "Handler": made["Handler"],
            "Architectures": made["Architectures"],
            "Code": {"S3Bucket": {"Ref": "ArtefactBucket"}, "S3Key": {"Ref": "CodeKey"}},
            "Role": {"Fn::GetAtt": [f"{function.id}Role", "Arn"]},
            "Timeout": made["Timeout"],
            "MemorySize": made["MemorySize"],
            "Environment": {"Variables": variables},
            "LoggingConfig": {"LogGroup": {"Ref": f"{function.id}Logs"}, "LogFormat": "Text"},
            **limit,
            **({"Layers": list(options.layers)} if options.layers and function.service == RUNNER else {}),
            **({"VpcConfig": network} if options.vpc else {}),
            "Tags": list(tags),
        },
    )


def _called(deployment: Deployment, function: Function) -> Iterator[Resource]:
    """What calls it: a schedule, whose next call comes whatever becomes of this one, the messages of the queue, or an address of
    its own."""
    if function.told:
        yield _source(deployment, function)
        return
    if function.every_min is None:
        yield from _address(function)
        return
    every = "cron(* * * * ? *)" if function.every_min == 1 else f"rate({function.every_min} minutes)"
    yield Resource(
        id=f"{function.id}Schedule",
        type="AWS::Scheduler::Schedule",
        properties={
            "Name": function.name,
            "ScheduleExpression": every,
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": {
                "Arn": {"Fn::GetAtt": [function.id, "Arn"]},
                "RoleArn": {"Fn::GetAtt": [_SCHEDULES, "Arn"]},
                "RetryPolicy": {"MaximumEventAgeInSeconds": 60, "MaximumRetryAttempts": 0},
            },
        },
    )
    yield Resource(
        id=f"{function.id}Retries",
        type="AWS::Lambda::EventInvokeConfig",
        properties={
            "FunctionName": {"Ref": function.id},
            "Qualifier": "$LATEST",
            "MaximumEventAgeInSeconds": 60,
            "MaximumRetryAttempts": 0,
        },
    )


def _source(deployment: Deployment, function: Function) -> Resource:
    """A message that is not used up is named in the answer, and comes again; the others do not
    (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html)."""
    options = read_options(deployment.queue_options, SqsOptions, "backends", deployment.queue)
    bound = {} if function.processes is None else {"ScalingConfig": {"MaximumConcurrency": max(2, function.processes)}}
    return Resource(
        id=f"{function.id}Messages",
        type="AWS::Lambda::EventSourceMapping",
        properties={
            "EventSourceArn": {"Fn::Sub": options.arn},
            "FunctionName": {"Ref": function.id},
            "BatchSize": BATCH,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            **bound,
        },
        depends_on=(f"{function.id}Role",),
    )


def _address(function: Function) -> Iterator[Resource]:
    """Open to everybody: who may call what, the service itself decides. Both permissions are needed
    (https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html)."""
    yield Resource(
        id=f"{function.id}Url",
        type="AWS::Lambda::Url",
        properties={"TargetFunctionArn": {"Ref": function.id}, "AuthType": "NONE", "InvokeMode": "BUFFERED"},
    )
    opened = {"FunctionName": {"Ref": function.id}, "Principal": "*"}
    yield Resource(
        id=f"{function.id}UrlPermission",
        type="AWS::Lambda::Permission",
        properties={**opened, "Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE"},
    )
    yield Resource(
        id=f"{function.id}CallPermission",
        type="AWS::Lambda::Permission",
        properties={**opened, "Action": "lambda:InvokeFunction", "InvokedViaFunctionUrl": True},
    )


def _alarm(function: Function, options: LambdaOptions) -> Resource:
    told = {"AlarmActions": [options.alarm_topic], "OKActions": [options.alarm_topic]} if options.alarm_topic else {}
    return Resource(
        id=f"{function.id}Errors",
        type="AWS::CloudWatch::Alarm",
        properties={
            "AlarmName": f"{function.name}-errors",
            "AlarmDescription": f"Calls of {function.name} fail",
            "Namespace": "AWS/Lambda",
            "MetricName": "Errors",
            "Dimensions": [{"Name": "FunctionName", "Value": {"Ref": function.id}}],
            "Statistic": "Sum",
            "Period": 300,
            "EvaluationPeriods": 1,
            "Threshold": 1,
            "ComparisonOperator": "GreaterThanOrEqualToThreshold",
            "TreatMissingData": "notBreaching",
            **told,
        },
    )


def _schedules_role(scheduled: Sequence[Function], tags: Sequence[Mapping[str, str]]) -> Resource:
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": "scheduler.amazonaws.com"},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}},
    }
    call = {
        "Effect": "Allow",
        "Action": "lambda:InvokeFunction",
        "Resource": [{"Fn::GetAtt": [function.id, "Arn"]} for function in scheduled],
    }
    return Resource(
        id=_SCHEDULES,
        type="AWS::IAM::Role",
        properties={
            "AssumeRolePolicyDocument": {"Version": _TRUST, "Statement": [trust]},
            "Policies": [{"PolicyName": "call", "PolicyDocument": {"Version": _TRUST, "Statement": [call]}}],
            "Tags": list(tags),
        },
    )


def _notes(deployment: Deployment) -> Iterator[str]:
    quick = sorted(
        {
            placed.shape.name
            for placed in deployment.services
            if placed.shape.consumers or any(timer.every_s < 60 for timer in placed.shape.timers)
        }
    )
    if quick:
        yield f"{', '.join(quick)}: called once a minute, which is the least that a schedule can: what they do comes up to a minute later"
    runner = next((placed for placed in deployment.services if placed.shape.name == RUNNER), None)
    if runner is not None:
        yield "the runner's functions are in the process sandbox: code of one customer, or `runner.allow_unsafe_sandbox`"
        if deployment.queue == QUEUE:
            yield f"its queue needs a visibility timeout of {6 * MOST_S} s: Lambda asks for six times the function's"
    if any(placed.shape.name in ("alerts", "ingress", "scheduler") for placed in deployment.services):
        yield "instances are those of customers (`turnout instances deploy`): what is in the project's own files runs on this machine alone"
