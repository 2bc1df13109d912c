"""The continuous function behind the arrows: learned, differentiated, mapped, followed and perturbed.

Arrays in, arrays out.  Whatever follows the field takes functions of places, so that it can be held against fields
whose portrait is known.
"""
