"""Pictures of graphs and networks: what is drawn, where it stands, and how it is written as SVG."""

__all__: list[str] = []
