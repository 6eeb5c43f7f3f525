"""What to change, per consequence: advice that, followed, makes the finding vanish (the twins prove it)."""

from __future__ import annotations

from collections.abc import Sequence

from blackstart.core.history import Cut
from blackstart.core.verdict import NOTE, POLICY

_ATOMIC = (
    "Write the new content to a temporary file in the same directory, flush and fsync it, then rename it over the old "
    "one: at every moment the old or the new content stands there whole."
)
_FSYNC_FIRST = (
    "Flush and fsync the temporary file before it is renamed over the old one: until then a power cut may leave the "
    "new name there without its content."
)
_TAIL = (
    "On start, cut a file that is only appended to off after its last whole record, and say so: after a power cut the "
    "rest may be there in part, or as zeros, which are no shorter than a whole record."
)
_ORDERED = (
    "Let a file be on the disk by its name before anything is written that relies on it: after it was made, renamed or "
    "removed, open its directory and fsync that, too. Until then what is done later may be there without it."
)
_APPENDED = "fsync a file after appending to it, before acknowledging (printing, answering)."
_APPEND = (
    "Append each record with one write, and acknowledge (print, answer) only after that. Where it fails or is cut "
    "short, cut the file back to the length that it had (ftruncate) and say so; a start cuts off what is behind the "
    "last whole record."
)
_KEPT = (
    "Take a failed fsync for a failed write: what it could not write is dropped, though it can still be read for a "
    "while. Keep what the new content was to replace, report the error and end, or write it again to a new file."
)
_WHOLE = "Make sure that a config is whole before acting on any part of it: half of one may say something else."
_TAKEN_BACK = (
    "Say that it is done (print, answer) only when it is: after its last write, fsync and close have succeeded."
)
_RECOVER = (
    "On start, treat a file that does not read as damage: set it aside, say so, and go on with a backup or afresh, "
    "instead of ending."
)
_UNREADABLE = (
    "Tell a file that cannot be read from one that is not there or is empty: on any error but ENOENT say so, end with "
    "a status other than 0, and write nothing over it."
)
_TIDIED = (
    "Nobody can tidy up while being killed, but a start can: remove the temporary files of earlier runs, once a lock "
    "tells that none of these still runs."
)
_OVERWRITTEN = (
    "On start, treat a file that does not read as damage: set it aside and say so before anything is written over it."
)
_STATUS = "End with a status other than 0 where the work was not done: scripts and timers look at nothing else."
UNCHECKED = (
    "Check the result of every write, close, fsync and rename of the new file; on an error remove it, keep the old "
    "one, say what could not be saved, and end with a status other than 0."
)
PRIVATE = (
    "Make a private file with its mode (open with O_CREAT and 0600, or under umask 077): a chmod afterwards comes too "
    "late."
)
MOVED = (
    "Let a start that finds a file moved away and not yet replaced finish that: make the new one, or go on without it. "
    "Where it can be, make the new file first and rename it over the old one."
)
LINKED = (
    "Make the new link under another name, check that it is there, and rename it over the old one: between removing a "
    "link and making it anew there is none."
)
TOGETHER = (
    "Keep in one file, or change in one transaction of a database, what must change together; or note first what is to "
    "be done, and let a start that finds the note finish it or take it back."
)
REMOVED = (
    "Remove a file only when what was made of it is whole and on the disk: check the result of every write, fsync the "
    "new file, close it, fsync its directory, and remove the old one last."
)
REPLACED = (
    "Rename the new file over the old one without removing that or moving it away first (a backup of it can be a copy "
    "or a hard link): rename puts one in the place of the other in one step, and before it there would be neither. "
    "Where the rename fails, keep the old one."
)
UNREAD = (
    "Make sure that reading has succeeded before what was read is used: on an error say so, end with a status other "
    "than 0, and keep what was to be read and what was to be replaced."
)
TAKEN = (
    "Take a task away (remove, move, or mark it as done) only after what came of it is written and synced, and let it "
    "do no harm if it is done twice: what was taken first is gone when the program dies in between."
)
TWICE = (
    "Write a result and that its task is done in one transaction or one rename; or give each result a key that follows "
    "from its task, so that doing it again replaces instead of adding."
)
ANSWERED = (
    "Answer that it is done only where it is: look at the result of every write, sync and commit, answer with an error "
    "where one failed, and keep nothing of it as done."
)
_BY_CONSEQUENCE = {
    "lost": _ATOMIC + " Acknowledge (print, answer) only after that.",
    "corrupt": _ATOMIC,
    "stuck": "Let nothing that outlives a kill block the next start: hold a lock with flock on an open descriptor (the "
    "kernel releases it) instead of by a file's existence, and overwrite or ignore half-made files of an earlier run.",
    "silent": "Check the result of every write, close, fsync and rename; on an error say what could not be saved, and "
    "end with a status other than 0.",
    "hung": "Give every wait a time limit, and treat its end as an error that is reported.",
    "spinning": "On an error do not repeat the same call at once: wait longer each time, and give up after a limit.",
    "dead": "Retry after an error instead of leaving the loop, with a growing pause, and say so; let go of every lock "
    "and slot on the way out of an error, too.",
    "crashed": "Check the result of the call that fails here before its data are used (also that of a memory "
    "allocation and of a mapped file), and end with a message.",
    "leaked": "Remove temporary files and close descriptors on every way out, also after an error.",
    "unclean": "On the way out release what was taken, also after an error.",
}


def power_advice(
    cuts: Sequence[Cut], consequence: str, label: str, hurt: Sequence[str] = (), *, appended: bool = False
) -> str:
    """What keeps these cuts (the last one in the recovery from the others) from doing harm, by what was missing.

    hurt: the masked paths that were found damaged; appended: clean runs only append to these. Where the missing bytes
    were written under another name than the file has now, the program renames already, and only the fsync before that
    is missing.
    """
    cut = cuts[-1]
    lost = set(cut.lost_kinds)
    names_only = lost == {"entry"}
    renames = cut.moved and not lost & {"entry", "dropped"} and not set(hurt) & set(cut.paths)
    if consequence == "stuck" and "dropped" in lost:
        found = _BY_CONSEQUENCE["stuck"]
    elif "dropped" in lost and not cut.again:
        found = _KEPT
    elif "dropped" in lost:
        found = (
            "Do not call fsync again after it has failed: what it could not write is dropped, and the next call has "
            "nothing left to write. Report the error and end, or write everything again to a new file."
        )
    elif names_only and consequence == "lost":
        found = (
            "After the rename, creation or removal of the file, open its directory and fsync that too, before "
            "acknowledging: until then a power cut may bring the old name back."
        )
    elif cut.unordered and consequence == "corrupt":
        found = _ORDERED
    elif renames:
        found = _FSYNC_FIRST
    elif appended or cut.appended:
        found = _APPENDED if consequence == "lost" else _TAIL
    elif consequence == "stuck":
        found = _BY_CONSEQUENCE["stuck"]
    elif lost & {"data", "size"} and consequence == "lost":
        found = "fsync the file, and after a rename its directory, before acknowledging (printing, answering)."
        found += "" if not lost & {"entry"} else " " + _ATOMIC
    else:
        found = _ATOMIC + " Without the fsync the new name may stand there before its content does."
    if len(cuts) > 1:
        found = (
            "Recovery must be as careful as the work itself, and must be able to begin again: remove what it recovers "
            "from last, after what it wrote is synced. " + found
        )
    return f"{found} (Under {', '.join(cut.models)}.)" if label == NOTE else found


def advice(
    consequence: str,
    kind: str,
    call: str,
    label: str,
    *,
    is_read: bool = False,
    has_said: bool = False,
    appended: bool = False,
) -> str:
    """One or two sentences for a finding; is_read: the call that failed only asks; has_said: the program did tell;
    appended: clean runs only append to the files that were hurt.
    """
    if has_said and consequence == "unclean":
        return _STATUS
    if label == NOTE and consequence == "unclean":
        return "Catch the error where it can happen, and say in one sentence what could not be done."
    if label == POLICY:
        return (
            "This is write-behind: acknowledge after the write, or shorten the window and document it, if what was "
            "acknowledged must survive a crash."
        )
    if label == NOTE and consequence == "lost":
        return _TAKEN_BACK
    if label == NOTE and consequence == "leaked":
        return _TIDIED
    if label == NOTE and kind == "file":
        return _WHOLE
    if kind in ("file", "db") and consequence in ("corrupt", "crashed", "hung", "spinning"):
        return _RECOVER
    if consequence == "silent" and kind in ("file", "db"):
        return _OVERWRITTEN
    if is_read and kind == "errno" and consequence in ("lost", "corrupt", "silent"):
        return _UNREADABLE
    if appended and consequence in ("lost", "corrupt"):
        return _APPEND
    if consequence == "corrupt" and kind == "errno" and call.startswith(("rename", "fsync", "fdatasync")):
        return "When fsync or rename fails, keep the old file, remove the temporary one and report it. " + _ATOMIC
    return _BY_CONSEQUENCE[consequence]
