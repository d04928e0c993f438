"""Exercises: functions that a learner writes, checked at once and explained in one sentence.

An exercise is data: a reference, random inputs, hints, and a bank of right and wrong answers. The
check in a notebook and the grade from outside are the same code.
"""

from coursekit.exercises.bank import exercises, find, lessons, of_lesson
from coursekit.exercises.exercise import Code, Exercise, Probe, Result, Slip, Variant
from coursekit.exercises.sheet import Sheet

__all__ = [
    "Code",
    "Exercise",
    "Probe",
    "Result",
    "Sheet",
    "Slip",
    "Variant",
    "exercises",
    "find",
    "lessons",
    "of_lesson",
]
