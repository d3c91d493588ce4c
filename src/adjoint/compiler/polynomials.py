"""The polynomials of the vector functions: made by `python -m tools.polynomials`.

A pair of numbers that stands for one constant is the constant rounded, and what that leaves.
"""

from __future__ import annotations


def numbers(text: str) -> tuple[float, ...]:
    """Hexadecimal numbers."""
    return tuple(map(float.fromhex, text.split()))


# ln2, in two parts.
LN2 = {
    "f32": numbers("0x1.62e4p-1 0x1.7f7d1cp-20"),
    "f64": numbers("0x1.62e42fefa2p-1 0x1.9ef35793c7673p-41"),
}

# inverse ln2, in two parts.
INVERSE_LN2 = {
    "f32": numbers("0x1.715476p+0 0x1.4ae0cp-26"),
    "f64": numbers("0x1.71547652b82fep+0 0x1.777d0ffda0d24p-56"),
}

# inverse ln10, in two parts.
INVERSE_LN10 = {
    "f32": numbers("0x1.bcb7b2p-2 -0x1.5b235ep-27"),
    "f64": numbers("0x1.bcb7b1526e50ep-2 0x1.95355baaafad3p-57"),
}

# log10 2, in two parts.
LOG10_2 = {
    "f32": numbers("0x1.344p-2 0x1.3509f8p-18"),
    "f64": numbers("0x1.34413509f6p-2 0x1.9fef311f12b36p-42"),
}

# two thirds, in two parts.
TWO_THIRDS = {
    "f32": numbers("0x1.555556p-1 -0x1.555556p-26"),
    "f64": numbers("0x1.5555555555555p-1 0x1.5555555555555p-55"),
}

# pi/2 in parts of 32 digits and a last one of 53.
HALF_PI = {
    "f64": numbers("0x1.921fb544p+0 0x1.0b4611a6p-34 0x1.3198a2ep-69 0x1.b839a252049c1p-104"),
}

# (e^r - 1 - r) / r^2, |r| <= ln(2)/2; error relative to e^r:
# f32 2^-33.2, f64 2^-63.8.
EXP = {
    "f32": numbers("0x1p-1 0x1.555554p-3 0x1.5554e6p-5 0x1.1112fcp-7 0x1.6d4f0ep-10 "
        "0x1.9e2478p-13"),
    "f64": numbers("0x1p-1 0x1.555555555555bp-3 0x1.5555555555539p-5 0x1.111111110edb6p-7 "
        "0x1.6c16c16c235e9p-10 0x1.a01a01b311a6bp-13 0x1.a01a0163fc8f2p-16 "
        "0x1.71ddf1052cdedp-19 0x1.27e5691c0938bp-22 0x1.af6a90f5b909fp-26 "
        "0x1.1e9c0fa0ab595p-29"),
}

# (e^-2s - 1 + 2s) / s^2, |s| <= ln(2)/4; error relative to e^-2s:
# f32 2^-28.3.
EXP_SHORT = {
    "f32": numbers("0x1.fffffcp+0 -0x1.555492p+0 0x1.5558bp-1 -0x1.12398ep-2 0x1.6a4d2ap-4"),
}

# (tanh(x) - x) / x^3 in z = x^2, |x| <= 7/8; error relative to tanh x:
# f32 2^-26.4.
TANH = {
    "f32": numbers("-0x1.555518p-2 0x1.1104aap-3 -0x1.b8696cp-5 0x1.585404p-6 -0x1.cae438p-8 "
        "0x1.674516p-10"),
}

# -2 / (1 + e), e = e^-2x < e^(-7/4); error relative to tanh x:
# f32 2^-30.1.
TANH_LONG = {
    "f32": numbers("-0x1.fffffcp+0 0x1.fffe26p+0 -0x1.ffb862p+0 0x1.fb029ap+0 -0x1.d20d32p+0 "
        "0x1.2343fcp+0"),
}

# (ln((1+s)/(1-s)) - 2s) / s^3 in z = s^2; error of s p, relative to the logarithm:
# f32 2^-35.2, f64 2^-59.5.
LOG = {
    "f32": numbers("0x1.555554p-1 0x1.999c22p-2 0x1.23d58ep-2 0x1.f0eb6p-3"),
    "f64": numbers("0x1.5555555555593p-1 0x1.999999997fb1p-2 0x1.249249420fdbp-2 "
        "0x1.c71c51f4261c1p-3 0x1.746642b6203ap-3 0x1.39a163310b481p-3 0x1.2f0882542ec28p-3"),
}

# ((ln((1+s)/(1-s)) - 2s) / s^3 - 2/3) / s^2 in z = s^2; error as above:
# f64 2^-73.5.
LOG_LONG = {
    "f64": numbers("0x1.9999999999996p-2 0x1.2492492492f4bp-2 0x1.c71c71c5979a3p-3 "
        "0x1.745d1828c38acp-3 0x1.3b1364f2c549fp-3 0x1.112068d1cc8a9p-3 0x1.de3e72f2d366ap-4 "
        "0x1.eabd6cabed3fdp-4"),
}

# (sin r - r) / r^3 in z = r^2, |r| <= pi/4; error relative to sin r:
# f32 2^-37.6, f64 2^-58.0.
SIN = {
    "f32": numbers("-0x1.5555554cb52abp-3 0x1.111108935a74ep-7 -0x1.a00f9b9533e02p-13 "
        "0x1.6cd7e78b42e8ap-19"),
    "f64": numbers("-0x1.5555555555549p-3 0x1.111111110f8a7p-7 -0x1.a01a019c16392p-13 "
        "0x1.71de357b2d5acp-19 -0x1.ae5e68a2cd38cp-26 0x1.5d93a28d08779p-33"),
}

# (cos r - 1 + z/2) / z^2 in z = r^2, |r| <= pi/4; absolute error of cos r:
# f32 2^-33.3, f64 2^-64.2.
COS = {
    "f32": numbers("0x1.55554aad226d4p-5 -0x1.6c0c87e6ff8ep-10 0x1.9a0155d4dd8edp-16"),
    "f64": numbers("0x1.555555555554cp-5 -0x1.6c16c16c15222p-10 0x1.a01a019cbfcap-16 "
        "-0x1.27e4f81307301p-22 0x1.1ee9f188e5174p-29 -0x1.8fb14b9b11778p-37"),
}

# erf(x) / x - 1 in z - 7/8, z = x^2, |x| <= 9/8; error relative to x:
# f32 2^-30.6, f64 2^-57.7.
ERF_SMALL = {
    "f32": numbers("-0x1.9a0bbp-4 -0x1.f4eac6p-3 0x1.12198ep-4 -0x1.efdp-7 0x1.752e5p-9 "
        "-0x1.dea308p-12 0x1.0776b8p-14 -0x1.873adep-18 0x1.4ec552p-19"),
    "f64": numbers("-0x1.9a0bafec7a26ep-4 -0x1.f4eac5302d05dp-3 0x1.12198a34afc55p-4 "
        "-0x1.efd13dd1a9bfcp-7 0x1.7530755e0d4dfp-9 -0x1.dd9dff98b8d0ep-12 0x1.09046f373eb5p-14 "
        "-0x1.03381dec4c9b6p-17 0x1.c4f4e5342e6bap-21 -0x1.65610c7b0d92fp-24 "
        "0x1.00c77423b777fp-27 -0x1.5996b004f987ep-31 0x1.beaecd4c44e54p-35 "
        "0x1.a07e18d6a75fp-37 0x1.082b2f90e81cp-37"),
}

# e^(a^2) erfc(a) in t = (a-2)/(a+2), 9/8 <= a <= 6 (4); absolute error of erf a:
# f32 2^-33.5, f64 2^-63.3.
ERFC = {
    "f32": numbers("0x1.058672p-2 -0x1.b5703p-2 0x1.eeea14p-3 -0x1.4390dp-4 0x1.deeee6p-9 "
        "0x1.c8dcbap-8 -0x1.1a99a2p-12"),
    "f64": numbers("0x1.058671b52c776p-2 -0x1.b57034efd3f71p-2 0x1.eeea7dc8a78bp-3 "
        "-0x1.437f0b68c1a2dp-4 0x1.e9471595a4976p-9 0x1.ca95ed53faa38p-8 -0x1.bc25a0d15ce3bp-11 "
        "-0x1.016b54aa61d5ep-10 0x1.6d584a7cc7012p-15 0x1.6d9c386fcaef7p-13 "
        "0x1.cddcf09a4da23p-16 -0x1.c88e073114e2ep-16 -0x1.c05973ed11489p-17"),
}

# (1 + 2a) e^(a^2) erfc(a) - 5/4 in t = (a-3)/(a+3), 1/2 <= a <= 27.3 (10.1); relative error:
# f32 2^-32.0, f64 2^-62.1.
ERFC_LONG = {
    "f32": numbers("0x1.8a45bp-9 -0x1.15c084p-3 -0x1.85a15ep-5 0x1.09833ap-3 -0x1.e88b7cp-4 "
        "0x1.17d02cp-4 -0x1.856e9cp-6 0x1.4623d8p-9 0x1.e9c50ap-10 -0x1.536434p-11 "
        "-0x1.e3a4d6p-17 -0x1.47da42p-15 -0x1.09c6bcp-13"),
    "f64": numbers("0x1.8a45afc930e68p-9 -0x1.15c084bb9e8f3p-3 -0x1.85a15c58aa60bp-5 "
        "0x1.098366a5b46d1p-3 -0x1.e88b803a48a1fp-4 0x1.17ca2877f0b22p-4 -0x1.8574c40c0fb6fp-6 "
        "0x1.4b884e4522c6ap-9 0x1.ef1bdd833465ap-10 -0x1.98db514ca13a8p-11 "
        "-0x1.b91293fa29a4dp-14 0x1.065a3efff31a5p-13 0x1.4c2f26e10fe7bp-18 "
        "-0x1.513cadd67fbd5p-16 -0x1.896cbe63583c9p-21 0x1.d22f1a4264f96p-19 "
        "0x1.81b75ff293641p-22 -0x1.4c07f865b3b78p-21 -0x1.35b613ae1763fp-23 "
        "0x1.bf5a68e7305f8p-24 0x1.7378eb773be0ap-25 -0x1.01f16bff32fdbp-26 "
        "-0x1.27803a531eb91p-27 0x1.a69ff6d23d862p-30 0x1.85717393ef5p-31"),
}
