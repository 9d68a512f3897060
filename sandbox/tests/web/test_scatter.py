from __future__ import annotations

from lightly_sandbox.web.scatter import HEIGHT, MARGIN, WIDTH, Frame


def test_every_point_is_in_the_picture_with_the_same_scale_both_ways() -> None:
    points = [(-1.0, -2.0), (3.0, 2.0), (0.0, 0.0)]
    frame = Frame.around(points)
    places = [frame.place(point) for point in points]
    assert all(MARGIN <= x <= WIDTH - MARGIN and MARGIN <= y <= HEIGHT - MARGIN for x, y in places)
    (left, low), (right, high), _ = places
    assert right - left == low - high == HEIGHT - 2 * MARGIN


def test_up_is_up() -> None:
    frame = Frame.around([(0.0, 0.0), (1.0, 1.0)])
    assert frame.place((0.0, 1.0))[1] < frame.place((0.0, 0.0))[1]


def test_points_without_extent_are_in_the_middle() -> None:
    for points in ([], [(5.0, 5.0)], [(5.0, 5.0)] * 3):
        frame = Frame.around(points)
        assert [frame.place(point) for point in points] == [(WIDTH / 2, HEIGHT / 2)] * len(points)


def test_points_at_the_same_place_are_one_dot() -> None:
    frame = Frame.around([(0.0, 0.0), (10.0, 0.0)])
    assert frame.path([(0.0, 0.0), (0.0001, 0.0), (10.0, 0.0)]) == "M20 300h0M980 300h0"
