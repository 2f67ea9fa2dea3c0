"""Whether a body is a task that the service takes; and if not, all that is wrong with it.

Nearly every task is right, so there are two ways. The quick one decodes a body to its
definition, which holds every rule, and encodes it again: if that is as long as the body, white
space and escapes aside, then nothing was lost, neither a field that is unknown nor one that was
given twice (encoding never makes anything longer). The slow one, for every body that the quick
one is not sure of, looks at each field by itself, and says what is wrong with all of them.
"""

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum

import msgspec

from bulksubmit.core.model import Kind, Problem
from bulksubmit.core.taskfields import Field, fields_of, fold, places
from bulksubmit.core.taskjson import Number, join, look_through, read, show
from bulksubmit.core.taskspec import (
    ID_LENGTH_MAX,
    ExitOptions,
    TaskAddParameter,
    explain_id,
    ids_are_valid,
)
from bulksubmit.core.taskterms import Definition, Fault, FieldKind, RuleBroken

PROBLEMS_MAX = 1000  # Of one task: a line of megabytes may hold any number of them.

_NAME_CHARS_MAX = 100  # Of an unknown field, to be compared with the known ones.
_ALIKE = 0.75  # difflib's ratio: "imagname" is like "imagename", "command" not like "comment".
_FIELDS_LISTED_MAX = 8
_NO_DEPENDENCIES = "usesTaskDependencies is false; create the job with usesTaskDependencies true"

_TAKES = {
    FieldKind.TEXT: "a string",
    FieldKind.ID: "a string",
    FieldKind.URL: "a URL",
    FieldKind.DURATION: "a duration such as PT30M or P7D",
    FieldKind.ENUM: "a string",
    FieldKind.INT: "a whole number",
    FieldKind.BOOL: "true or false",
    FieldKind.OBJECT: "an object",
}


class JobFacts(msgspec.Struct, frozen=True):
    """What of the job decides on what its tasks may say.

    Attributes:
        uses_task_dependencies: The job's usesTaskDependencies.
        on_task_failure: The job's onTaskFailure, in any case.
    """

    uses_task_dependencies: bool
    on_task_failure: str

    @property
    def takes_job_action(self) -> bool:
        """REST, ExitOptions.jobAction: refused if the job's onTaskFailure is noaction."""
        return self.on_task_failure.lower() != "noaction"


class Finding(msgspec.Struct, frozen=True, gc=False):
    """What is to be said of a body.

    Attributes:
        id: Its ID, as far as it has one; otherwise empty.
        problems: What is wrong or odd, at most PROBLEMS_MAX.
    """

    id: str
    problems: tuple[Problem, ...]

    @property
    def invalid(self) -> bool:
        """Whether the service would refuse it: there is an error, not only warnings."""
        return not all(problem.warning for problem in self.problems)


class Checker:
    """Checks the tasks of one source.

    Attributes:
        job: The job that they are for; None to check what holds for any job. To be set before
            the first check.
    """

    def __init__(self, *, allow_unknown: bool = False, job: JobFacts | None = None) -> None:
        self.job = job
        self._allow_unknown = allow_unknown
        self._decode = msgspec.json.Decoder(TaskAddParameter).decode
        self._encode_into = msgspec.json.Encoder().encode_into
        self._again = bytearray()

    def check(self, bodies: Sequence[bytes]) -> tuple[list[str], dict[int, Finding]]:
        """Check some tasks.

        Returns:
            Their IDs in order, empty for one that has none; and by index what is to be said of
            a body, which is usually nothing.
        """
        ids, doubtful = self._check_quickly(bodies)
        findings = {}
        for index in doubtful:
            finding = explain(bodies[index], allow_unknown=self._allow_unknown, job=self.job)
            ids[index] = finding.id
            if finding.problems:
                findings[index] = finding
        return ids, findings

    def _check_quickly(self, bodies: Iterable[bytes]) -> tuple[list[str], list[int]]:
        """The IDs of those that decode, and which to look at more closely."""
        decode, encode_into, again = self._decode, self._encode_into, self._again
        job = self.job
        limited = job and not (job.uses_task_dependencies and job.takes_job_action)
        ids: list[str] = []
        doubtful: list[int] = []
        for index, body in enumerate(bodies):
            try:
                task = decode(body)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                ids.append("")
                doubtful.append(index)
                continue
            ids.append(task.id)
            encode_into(task, again)
            if (
                (len(again) != len(body) and self._lost_something(body))
                or (task.multi_instance_settings and task.faults())
                or (limited and (task.depends_on or task.exit_conditions))
            ):
                doubtful.append(index)
        if not ids_are_valid(ids):
            known = set(doubtful)
            doubtful += [i for i, each in enumerate(ids) if explain_id(each) and i not in known]
        return ids, doubtful

    def _lost_something(self, body: bytes) -> bool:
        """Whether decoding and encoding lost more than white space and escapes."""
        length = len(self._again)
        if len(msgspec.json.format(body, indent=-1)) == length:
            return False
        if self._allow_unknown:
            return True
        try:
            whole = json.loads(body, object_pairs_hook=_members_once)
            return len(msgspec.json.encode(whole)) != length
        except (ValueError, OverflowError, RecursionError):
            return True


def _members_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key is given twice")
    return members


def explain(body: bytes, *, allow_unknown: bool = False, job: JobFacts | None = None) -> Finding:
    """All that is wrong with a body, or odd about it; slow."""
    value = read(body)
    if isinstance(value, Problem):
        return Finding("", (value,))
    if not isinstance(value, dict):
        reason = f"not a JSON object but {_name_of(value)}; one task a line is read"
        return Finding("", (Problem("", Kind.NOT_A_TASK, reason),))
    explainer = _Explainer(allow_unknown=allow_unknown, job=job)
    for problem in look_through(value):
        explainer.say(problem)
    explainer.check_object(TaskAddParameter, value, "")
    task_id = value.get("id")
    if not isinstance(task_id, str) or isinstance(task_id, Number):
        task_id = ""
    task_id = task_id.encode(errors="replace").decode()  # It may hold half a surrogate pair.
    return Finding(task_id, tuple(explainer.problems))


class _Wrong:
    """Stands for a value that is wrong by itself."""


_WRONG = _Wrong()


class _Explainer(msgspec.Struct):
    """Looks at one task, and gathers what is wrong with it."""

    allow_unknown: bool
    job: JobFacts | None
    problems: list[Problem] = msgspec.field(default_factory=list)

    def say(self, problem: Problem) -> None:
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(problem)

    def check_object(
        self, definition: type[Definition], members: Mapping[str, object], path: str
    ) -> Definition:
        """An object: its fields one by one, then its rules, on whatever is right of it."""
        fields = fields_of(definition)
        if not self.allow_unknown:
            for name in members:
                if name not in fields:
                    self._say_unknown(name, fields, path)
        self._check_required(fields, members, path)
        given: dict[str, object] = {}
        wrong: set[str] = set()
        for name, each in fields.items():
            value = members.get(name)
            if name in members and (value is not None or each.required):
                value = self._check_field(each, value, join(path, name))
            if value is _WRONG or (value is None and each.required):
                wrong.add(each.attribute)
                value = _neutral(each) if each.required else None
            if value is not None:
                given[each.attribute] = value
        self._check_job(definition, members, path)
        made, faults = _make(definition, given)
        for fault in faults:
            if wrong.isdisjoint(fault.of):
                self._say_fault(fault, path)
        return made

    def _check_required(
        self, fields: Mapping[str, Field], members: Mapping[str, object], path: str
    ) -> None:
        missing = [name for name, each in fields.items() if each.required and name not in members]
        if not path and missing:
            names = " and ".join(missing)
            reason = f"{names} missing; every task needs an id and a commandLine"
            self._say("" if len(missing) > 1 else names, Kind.MISSING, reason)
            return
        for name in missing:
            where = join(path, name)
            reason = f"{where} is missing; it must be {_takes(fields[name])}"
            self._say(where, Kind.MISSING, reason)

    def _check_field(self, each: Field, value: object, path: str) -> object:
        if not each.listed:
            return self._check_item(each, value, path)
        if not isinstance(value, list):
            reason = f"{path} is {_name_of(value)}; it must be an array, each item {_takes(each)}"
            self._say(path, Kind.TYPE, reason)
            return _WRONG
        items = []
        for place, item in enumerate(value):
            taken = self._check_item(each, item, f"{path}[{place}]")
            items.append(_neutral(each) if taken is _WRONG else taken)
        return tuple(items)

    def _check_item(self, each: Field, value: object, path: str) -> object:
        if each.definition:
            if isinstance(value, dict):
                return self.check_object(each.definition, value, path)
        elif each.kind is FieldKind.INT:
            if isinstance(value, int) and not isinstance(value, bool):
                return self._check_range(each, value, path)
        elif each.kind is FieldKind.BOOL:
            if isinstance(value, bool):
                return value
        elif isinstance(value, str) and not isinstance(value, Number):
            return self._check_text(each, value, path)
        return self._say_type(each, value, path)

    def _check_range(self, each: Field, value: int, path: str) -> object:
        if each.least is not None and value < each.least:
            reason = f"{path} is {value}; it must be at least {each.least}"
        elif each.most is not None and value > each.most:
            reason = f"{path} is {value}; it must be at most {each.most}"
        else:
            return value
        self._say(path, Kind.RANGE, reason, show(value))
        return _WRONG

    def _check_text(self, each: Field, value: str, path: str) -> object:
        kind = Kind.VALUE
        if path == "id":
            reason = explain_id(value)
            if not 0 < len(value) <= ID_LENGTH_MAX:
                kind = Kind.LENGTH
        elif each.words:
            return self._check_word(each.words, value, path)
        elif each.least and len(value) < each.least:
            reason, kind = f"{path} is empty; it must not be", Kind.LENGTH
        elif each.most is not None and len(value) > each.most:
            reason = f"{path} has {len(value)} characters; the service takes at most {each.most}"
            kind = Kind.LENGTH
        elif each.pattern and not each.pattern.search(value):
            reason = f"{path} is {show(value)}; it must be {each.form}"
        else:
            reason = None
        if reason is None:
            return value
        self._say(path, kind, reason, show(value))
        return _WRONG

    def _check_word(self, words: type[Enum], value: str, path: str) -> object:
        try:
            return words(value)
        except ValueError:
            spelt = {word.value.lower(): word.value for word in words}
        meant = difflib.get_close_matches(value[:_NAME_CHARS_MAX].lower(), spelt, n=1)
        hint = f'did you mean "{spelt[meant[0]]}"? It' if meant else "it"
        reason = f"{path} is {show(value)}; {hint} takes {_listed(spelt.values(), 'or')}"
        self._say(path, Kind.VALUE, reason, show(value))
        return _WRONG

    def _check_job(
        self, definition: type[Definition], members: Mapping[str, object], path: str
    ) -> None:
        """What the job must allow."""
        job = self.job
        if job is None:
            return
        needs: list[tuple[str, str]] = []
        if definition is TaskAddParameter and not job.uses_task_dependencies:
            # REST, TaskAddParameter.dependsOn.
            needs.append(("dependsOn", _NO_DEPENDENCIES))
        if definition is ExitOptions:
            if not job.uses_task_dependencies:
                # REST, ExitOptions.dependencyAction.
                needs.append(("dependencyAction", _NO_DEPENDENCIES))
            if not job.takes_job_action:
                reason = "onTaskFailure is noaction; it takes performexitoptionsjobaction"
                needs.append(("jobAction", reason))
        for name, reason in needs:
            if members.get(name) is not None:
                where = join(path, name)
                self._say(where, Kind.JOB, f"{where} is given, but the job's {reason}")

    def _say(self, path: str, kind: Kind, text: str, value: str | None = None) -> None:
        self.say(Problem(path, kind, text, value))

    def _say_fault(self, fault: Fault, path: str) -> None:
        where = f"{path}.{fault.path}" if path and fault.path else path or fault.path
        value = None if fault.value is None else show(fault.value)
        text = where + fault.says.replace("{}", value or "")
        self.say(Problem(where, fault.kind, text, value, fault.warning))

    def _say_type(self, each: Field, value: object, path: str) -> _Wrong:
        reason = f"{path} is {_name_of(value)}; it must be {_takes(each)}"
        if isinstance(value, str) and each.kind in {FieldKind.INT, FieldKind.BOOL}:
            reason = f"{path} is {show(value)}, a string; it must be {_takes(each)}"
        # A text where none belongs may be anything, such as a connection string.
        hidden = each.secret or (each.definition and isinstance(value, str))
        shown = None if hidden or value is None else show(value)
        kind = Kind.TYPE
        if each.kind is FieldKind.INT and isinstance(value, Number):
            reason = f"{path} is {shown}; it must be a whole number, written in digits only"
            if value.removeprefix("-").isdigit():
                kind = Kind.RANGE
                reason = f"{path} has {len(value)} digits; it must be at most {each.most}"
        self._say(path, kind, reason, shown)
        return _WRONG

    def _say_unknown(self, name: str, fields: Mapping[str, Field], path: str) -> None:
        folded = fold(name[:_NAME_CHARS_MAX])
        known = {fold(each): each for each in fields}
        meant = difflib.get_close_matches(folded, known, n=1, cutoff=_ALIKE)
        elsewhere = places().get(folded, ())
        if meant and known[meant[0]] != name:
            hint = f"did you mean {known[meant[0]]}?"
        elif len(elsewhere) == 1:
            at = elsewhere[0]
            hint = f"did you mean {at}?" if at != name else f"{at} is a field of the task itself"
        elif len(fields) <= _FIELDS_LISTED_MAX:
            hint = f"known here: {_listed(fields, 'and')}"
        else:
            hint = "no field of a task has such a name"
        where = join(path, name)
        self._say(where, Kind.UNKNOWN, f"{where}: unknown field; {hint}")


def _make(
    definition: type[Definition], given: Mapping[str, object]
) -> tuple[Definition, Sequence[Fault]]:
    """A definition, and what its rules say of it."""
    try:
        made = definition(**given)
    except RuleBroken as broken:
        return broken.definition, broken.faults
    return made, made.faults() if isinstance(made, TaskAddParameter) else ()


def _neutral(each: Field) -> object:
    """What may stand in a field that is wrong, so that the rules can look at the others."""
    match each.kind:
        case FieldKind.OBJECT if each.definition:
            fields = fields_of(each.definition).values()
            given = {inner.attribute: _neutral(inner) for inner in fields if inner.required}
            return _make(each.definition, given)[0]
        case FieldKind.INT:
            return 0
        case FieldKind.ENUM if each.words:
            return next(iter(each.words))
        case _:
            return ""


def _takes(each: Field) -> str:
    if each.words:
        return _listed((f'"{word.value}"' for word in each.words), "or")
    return each.form or _TAKES[each.kind]


def _name_of(value: object) -> str:
    match value:
        case None:
            return "null"
        case Number():
            return "a number"
        case str():
            return "a string"
        case bool():
            return "a boolean"
        case list():
            return "an array"
        case dict():
            return "an object"
        case _:
            return "a number"


def _listed(names: Iterable[str], word: str) -> str:
    *most, last = names
    return f"{', '.join(most)} {word} {last}" if most else last
