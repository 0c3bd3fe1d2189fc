"""A definition in Python, run as the YAML ones are."""

from turnout import (
    Integration,
    action,
    branch,
    call,
    code,
    expr,
    flow,
    loop,
    otherwise,
    parallel,
    retry,
    stop,
    variable,
    wait,
    webhook,
    when,
)

integration = Integration(
    name="python-definition",
    version="1.0.0",
    config=[variable("limit", "number", default=2)],
    flows=[
        flow(
            "main",
            webhook(),
            steps=[
                loop(
                    "each",
                    expr("trigger.body"),
                    as_="n",
                    concurrency=2,
                    collect=expr("steps.double"),
                    steps=[
                        code("double", "export default ({ n }) => n * 2", n=expr("n"), retry=retry(2, delay="10ms")),
                        wait("pause", "1ms"),
                    ],
                ),
                branch(
                    "size",
                    when("length(steps.each) > 2", [call("many", "other", n=expr("length(steps.each)"))]),
                    otherwise([code("few", "export default () => 'few'")]),
                ),
                parallel("both", {"a": [action("count", "state.increment", key="n")], "b": [wait("short", 0.001)]}),
                stop("end", output={"each": expr("steps.each"), "many": expr("steps.many"), "few": expr("steps.few")}),
            ],
            timeout="1m",
        ),
        flow("other", steps=[stop("done", output=expr("trigger.body.n"))]),
    ],
)
