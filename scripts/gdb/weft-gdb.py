"""Tasks of a weft program in gdb, live or from a core file:

    info tasks           every task: id, state, what it waits on, where it was spawned, its name
    task 17 bt           the calls of task 17; `bt full`, `bt 5` as usual
    task 17 COMMAND      any command in the innermost frame of task 17: `task 17 frame function read_mail`
    task all bt          the same for every task that has calls to show
    task core FILE       generate-core-file, and then the tasks' stacks, which gdb leaves out where the kernel keeps their guards
                         without a mapping (Linux 6.13): it reads a megabyte at a time, and gives up at the first guard

    gdb -x PREFIX/share/weft/gdb/weft-gdb.py PROGRAM [CORE]

Where things lie in the program is read from its symbol weft_debugger_layout (runtime/observe/debugger.cpp); debug information is not
needed. A parked task's registers are put in place of those of the selected thread by an unwinder of gdb's, so nothing is
written to the program, and a core file does as well.
"""

import re
import struct

import gdb
import gdb.unwinder


def memory(address, size):
    return gdb.selected_inferior().read_memory(address, size).tobytes()


def word(address):
    return struct.unpack("<Q", memory(address, 8))[0]


def text(address, size=None):
    """Of a C string, or of `size` bytes."""
    try:
        if size is None:
            return gdb.Value(address).cast(gdb.lookup_type("char").pointer()).string(errors="replace")
        return memory(address, size).decode(errors="replace")
    except gdb.error:
        return "?"


class Layout:
    """weft_debugger_layout, by name."""

    def __init__(self):
        try:
            at = int(gdb.parse_and_eval("(unsigned long)&weft_debugger_layout"))
        except gdb.error:
            raise gdb.GdbError("no weft in this program, or its symbols were stripped (weft_debugger_layout)")
        version, count, self.chunks, self.reasons, first = struct.unpack("<IIQQQ", memory(at, 32))
        if version != 1:
            raise gdb.GdbError(f"weft's layout has version {version}, this script knows version 1")
        self.values = {}
        for name, value in struct.iter_unpack("<24sQ", memory(first, 32 * count)):
            self.values[name.rstrip(b"\0").decode()] = value

    def __getitem__(self, name):
        return self.values[name]

    def get(self, name):
        return self.values.get(name)

    def reason(self, number):
        return text(word(self.reasons + 8 * number)) if number < self["reasons.count"] else "?"


class Task:
    def __init__(self, layout, address, block):
        def field(name):
            return struct.unpack_from("<Q", block, layout["task." + name])[0]

        self.address = address
        self.id = field("id")
        self.phase = block[layout["task.phase"]]
        self.waits = (field("word") & layout["word.state"]) == layout["word.waiting"]
        self.request, self.joined = field("request"), field("joined")
        self.scheduler, self.stack = field("scheduler"), field("stack")
        place, extra = field("place"), field("extra")
        self.place = self.name = ""
        if place:
            file, _, line = struct.unpack("<QQI", memory(place, 20))
            self.place = f"{text(file)}:{line}"
        if extra:
            start, length = struct.unpack("<QQ", memory(extra + layout["extra.name"], 16))
            self.name = re.sub(r"[\x00-\x1f\x7f]", " ", text(start, length)) if length else ""


class Worker:
    def __init__(self, layout, address):
        self.current = word(address + layout["worker.current"])
        self.stack = word(address + layout["worker.stack"])
        self.thread = struct.unpack("<i", memory(address + layout["worker.thread"], 4))[0]
        self.next = word(address + layout["worker.next"])


class Program:
    """What all tasks of the process do, at the moment in which it was stopped."""

    def __init__(self):
        self.layout = layout = Layout()
        self.tasks = []
        chunk = word(layout.chunks)
        while chunk:
            size, count = word(chunk + layout["chunk.block_size"]), word(chunk + layout["chunk.blocks"])
            blocks = memory(chunk + layout["chunk.first"], size * count)
            for i in range(count):
                block = blocks[i * size : i * size + layout["task.size"]]
                if block[layout["task.phase"]] not in (layout["phase.free"], layout["phase.ended"]):
                    self.tasks.append(Task(layout, chunk + layout["chunk.first"] + i * size, block))
            chunk = word(chunk + layout["chunk.next"])
        self.tasks.sort(key=lambda t: t.id)
        self.at = {t.address: t for t in self.tasks}
        self.runs = {}  # a task's address -> the worker that runs it
        for scheduler in {t.scheduler for t in self.tasks}:
            at = word(scheduler + layout["scheduler.workers"])
            while at:
                worker = Worker(layout, at)
                if worker.current:
                    self.runs[worker.current] = worker
                at = worker.next

    def find(self, number):
        for task in self.tasks:
            if task.id == number:
                return task
        raise gdb.GdbError(f"no task {number}: see info tasks")

    def is_parked(self, task):
        return task.phase == self.layout["phase.parked"] and task.waits and task.address not in self.runs

    def state(self, task):
        phase = task.phase
        if task.address in self.runs or phase == self.layout["phase.running"]:
            return "running"
        if phase == self.layout["phase.fresh"]:
            return "not begun"
        return "parked" if phase == self.layout["phase.joining"] or self.is_parked(task) else "ready"

    def waits_on(self, task):
        if task.phase == self.layout["phase.joining"]:
            above = self.at.get(task.joined)
            return f"join of task {above.id}" if above else "join"
        if not self.is_parked(task):
            return ""
        reason = memory(task.request + self.layout["request.reason"], 1)[0]
        target = word(task.request + self.layout["request.object"])
        if reason == self.layout["reason.join"] and target in self.at:
            return f"join of task {self.at[target].id}"
        return self.layout.reason(reason) + (f" {target:#x}" if target else "")

    def thread_of(self, worker):
        """gdb's thread: the one whose stack pointer lies in the worker's stack, else the one with the kernel's number."""
        threads = [t for t in gdb.selected_inferior().threads() if t.is_valid()]
        for thread in threads:
            if thread.ptid[1] == worker.thread or thread.ptid[2] == worker.thread:
                return thread
        low = word(worker.stack + self.layout["stack.base"]) if worker.stack else 0
        before = gdb.selected_thread()
        try:
            for thread in threads:
                thread.switch()
                if low <= int(gdb.newest_frame().read_register("sp")) < worker.stack:
                    return thread
        finally:
            before.switch()
        return None

    def registers(self, task):
        """Where a task that does not run stopped: stack pointer, frame pointer, program counter."""
        if not task.stack:
            return None
        pc = self.layout.get("stack.pc")
        frame = word(task.stack + self.layout["stack.frame"])
        if pc is not None and word(task.stack + pc):
            return word(task.stack + self.layout["stack.sp"]), frame, word(task.stack + pc)
        return frame + 16, word(frame), word(frame + 8)


class FrameId:
    def __init__(self, sp, pc):
        self.sp, self.pc = sp, pc


class Parked(gdb.unwinder.Unwinder):
    """While `registers` is set, the caller of the selected thread's innermost frame is the code that has these."""

    names = {"i386:x86-64": ("rsp", "rbp", "rip"), "aarch64": ("sp", "x29", "pc")}

    def __init__(self):
        super().__init__("weft-task")
        self.registers = self.innermost = None

    def __call__(self, pending):
        if self.registers is None:
            return None
        names = self.names.get(pending.architecture().name())
        here = tuple(int(pending.read_register(name)) for name in names) if names else None
        if here is None or here != self.innermost:
            return None
        sp, _, pc = (pending.read_register(name).type for name in names)
        # Further in than the task's frames, or gdb would think that the stack runs backwards.
        info = pending.create_unwind_info(
            FrameId(gdb.Value(self.registers[0] - 64).cast(sp), gdb.Value(here[2]).cast(pc)))
        for name, value in zip(names, self.registers):
            info.add_saved_register(name, gdb.Value(value).cast(pending.read_register(name).type))
        return info

    def run(self, registers, command):
        frame = gdb.newest_frame()
        names = self.names.get(frame.architecture().name())
        if names is None:
            raise gdb.GdbError(f"not known for {frame.architecture().name()}")
        self.innermost = tuple(int(frame.read_register(name)) for name in names)
        self.registers = registers
        gdb.invalidate_cached_frames()
        try:
            task = gdb.newest_frame().older()
            if task is None:
                raise gdb.GdbError("gdb cannot unwind from where the task stopped")
            if re.match(r"(bt|backtrace|where)\b", command):
                limit = re.sub(r"(?<= )\d+$", lambda m: str(int(m[0]) + 1), command)
                show_calls(gdb.execute(limit, to_string=True))
            else:
                task.select()
                gdb.execute(command)
        finally:
            self.registers = None
            gdb.invalidate_cached_frames()
            gdb.newest_frame().select()


def show_calls(listing):
    """What gdb lists, without the frame that is the thread's: it counts from 0 again."""
    listing = re.sub(r"\A#0 .*?(?=^#|\Z)", "", listing, flags=re.MULTILINE | re.DOTALL)
    gdb.write(re.sub(r"^#(\d+) *", lambda m: f"#{int(m[1]) - 1:<3}", listing, flags=re.MULTILINE))


def write_stacks(program, path):
    """Into a core file: what is in use of each stack that tasks are on."""
    layout = program.layout
    page = 4096
    ranges = []
    for stack in {t.stack for t in program.tasks if t.stack and t.address not in program.runs}:
        ranges.append((word(stack + layout["stack.sp"]) - 256, stack + page))
    for worker in program.runs.values():
        if worker.stack:
            ranges.append((word(worker.stack + layout["stack.base"]), worker.stack + page))
    with open(path, "r+b") as core:
        header = core.read(64)
        start, size, count = (struct.unpack_from(f, header, at)[0] for f, at in (("<Q", 32), ("<H", 54), ("<H", 56)))
        if count == 0xFFFF:  # so many that the first section header tells
            core.seek(struct.unpack_from("<Q", header, 40)[0])
            count = struct.unpack_from("<I", core.read(64), 44)[0]
        core.seek(start)
        table = core.read(size * count)
        for i in range(count):
            kind, _, offset, low, _, filled, _, _ = struct.unpack_from("<IIQQQQQQ", table, i * size)
            for first, last in ranges if kind == 1 else ():  # PT_LOAD
                for at in range(max(first, low) & -page, min(last, low + filled) & -page, page):
                    try:
                        core.seek(offset + at - low)
                        core.write(memory(at, page))
                    except gdb.MemoryError:
                        pass  # a guard, or beyond the mapping


parked = Parked()
gdb.unwinder.register_unwinder(None, parked, replace=True)


class InfoTasks(gdb.Command):
    """List the tasks of a weft program: id, state, what each waits on, where it was spawned, its name."""

    def __init__(self):
        super().__init__("info tasks", gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        program = Program()
        rows = [("Id", "State", "Waits on", "Spawned at", "Name")]
        for t in program.tasks:
            rows.append((str(t.id), program.state(t), program.waits_on(t), t.place, f'"{t.name}"' if t.name else ""))
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        for row in rows:
            gdb.write("  ".join(cell.ljust(width) for cell, width in zip(row, widths)) + "  " + row[4] + "\n")


class TaskCommand(gdb.Command):
    """Run a command for a task of a weft program: task ID bt, task ID COMMAND, task all bt."""

    def __init__(self):
        super().__init__("task", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        number, _, command = argument.strip().partition(" ")
        command = command.strip() or "bt"
        program = Program()
        if number == "core":
            gdb.execute(f"generate-core-file {command}")
            write_stacks(program, command)
        elif number == "all":
            for task in program.tasks:
                if program.state(task) == "not begun" or task.phase == program.layout["phase.joining"]:
                    continue
                name = f' "{task.name}"' if task.name else ""
                gdb.write(f"\ntask {task.id}{name}: {program.waits_on(task) or program.state(task)}\n")
                self.run(program, task, command)
        elif number.isdigit():
            self.run(program, program.find(int(number)), command)
        else:
            raise gdb.GdbError("usage: task ID COMMAND, or task all COMMAND")

    def run(self, program, task, command):
        for _ in range(1000):
            if task.phase != program.layout["phase.joining"] or task.address in program.runs:
                break
            above = program.at.get(task.joined)
            if above is None:
                raise gdb.GdbError(f"task {task.id} joins a task that is just ending")
            gdb.write(f"task {task.id} runs task {above.id} above its own calls, for the join:\n")
            task = above
        if worker := program.runs.get(task.address):
            thread = program.thread_of(worker)
            if thread is None:
                raise gdb.GdbError(f"task {task.id} runs on thread {worker.thread}, which gdb does not know")
            before = gdb.selected_thread()
            try:
                thread.switch()
                gdb.execute(command)
            finally:
                before.switch()
            return
        registers = program.registers(task)
        state = program.state(task)
        if state == "not begun":
            raise gdb.GdbError(f"task {task.id} has not begun")
        if registers is None or state == "running":
            raise gdb.GdbError(f"task {task.id} is just leaving or entering its stack")
        parked.run(registers, command)


InfoTasks()
TaskCommand()
