"""Where submissions run. `box` is the way in.

On the grader's side `bubblewrap` and `launcher` start the sandbox, `cgroup` limits it as a whole,
`protocol` follows a submission's run and `transcript` collects what it says. Inside, `zygote` waits
with everything imported and forks, `confine` takes away rights and resources, `cells` executes.
`frames` cross between the two; `selftest` tries to break out.
"""
